package presence

// View is a gateway's copy of one topic: what its clients have been told. The zero value knows nothing yet.
type View struct {
	epoch     uint64
	rev       uint64 // the point of the log it stands for; 0: nothing is known
	hash      uint64
	presences Presences
}

// Fit says how a diff relates to a view.
type Fit uint8

// The relations.
const (
	FitExact Fit = iota // it leads on from what the view holds
	FitOld              // the view is as new already
	FitGap              // something is missing in between: the view must be compared with the owner's
)

// Known reports whether the view stands for a point of the log.
func (v *View) Known() bool { return v.rev != 0 }

// Rev is the point of the log that the view stands for.
func (v *View) Rev() uint64 { return v.rev }

// Presences is who is there; it must not be changed, and is valid until the view changes.
func (v *View) Presences() Presences { return v.presences }

// Len is how many keys are there.
func (v *View) Len() int { return len(v.presences) }

// CheckTopic is how the view is described to the owner of its topic.
func (v *View) CheckTopic(topic string) CheckTopic {
	return CheckTopic{Topic: topic, Epoch: v.epoch, Rev: v.rev, Hash: v.hash}
}

// Fits says whether a diff with that stamp can be applied.
func (v *View) Fits(s Stamp) Fit {
	switch {
	case v.rev == 0 || s.Epoch != v.epoch:
		return FitGap
	case s.Rev <= v.rev:
		return FitOld
	case s.After <= v.rev && v.rev < s.First:
		return FitExact
	}
	return FitGap
}

// Apply applies a diff that fits exactly.
func (v *View) Apply(d *Diff) {
	v.rev = d.Rev
	for key, metas := range d.Joins {
		for _, m := range metas {
			v.add(key, m)
		}
	}
	for key, metas := range d.Leaves {
		for _, m := range metas {
			if _, ok := v.presences.remove(key, m.Ref); ok {
				v.hash ^= hashRef(m.Ref)
			}
		}
	}
}

func (v *View) add(key string, m Meta) {
	if v.presences == nil {
		v.presences = Presences{}
	}
	if v.presences.has(key, m.Ref) {
		return
	}
	v.presences.add(key, m)
	v.hash ^= hashRef(m.Ref)
}

// Confirm moves the view to the owner's point of the log, if it holds the same: false means that the view has another hash by now, and nothing was done.
func (v *View) Confirm(epoch, rev, hash uint64) bool {
	if !v.Known() || v.hash != hash {
		return false
	}
	v.epoch, v.rev = epoch, rev
	return true
}

// Replace makes the view hold what the owner does, and returns the difference, for the clients that were told the old.
func (v *View) Replace(topic string, epoch, rev uint64, p Presences) Diff {
	d := Diff{Topic: topic, Joins: Presences{}, Leaves: Presences{}}
	for key, metas := range p {
		for _, m := range metas {
			if !v.presences.has(key, m.Ref) {
				d.Joins.add(key, m)
			}
		}
	}
	for key, metas := range v.presences {
		for _, m := range metas {
			if !p.has(key, m.Ref) {
				d.Leaves.add(key, m)
			}
		}
	}
	v.epoch, v.rev, v.presences, v.hash = epoch, rev, p, 0
	for _, metas := range p {
		for _, m := range metas {
			v.hash ^= hashRef(m.Ref)
		}
	}
	return d
}
