package presence

// Diff is what changed on a topic between two points of the log. Applied to any state within its stamp, joins first, it gives the later state.
type Diff struct {
	Topic string
	Stamp
	Joins, Leaves Presences
}

// Empty reports whether clients need not see it: what came went again.
func (d *Diff) Empty() bool { return len(d.Joins) == 0 && len(d.Leaves) == 0 }

// AppendPayload appends the payload of presence_diff: both sides always, as Phoenix does (Phoenix 1.8 presence.ex).
func (d *Diff) AppendPayload(dst []byte) []byte {
	dst = append(dst, `{"joins":`...)
	dst = d.Joins.AppendJSON(dst)
	dst = append(dst, `,"leaves":`...)
	dst = d.Leaves.AppendJSON(dst)
	return append(dst, '}')
}

// Split returns the diff in pieces whose payloads have at most about limit bytes each; a key is in one piece, so that an update stays one diff. Only a gateway
// splits what it tells its clients: a piece has no stamp of its own.
func (d *Diff) Split(limit int) []Diff {
	var out []Diff
	size := limit
	add := func(key string) *Diff {
		n := len(key)
		for _, m := range d.Joins[key] {
			n += len(m.JSON) + 16
		}
		for _, m := range d.Leaves[key] {
			n += len(m.JSON) + 16
		}
		if size += n; size > limit || len(out) == 0 {
			out = append(out, Diff{Topic: d.Topic, Joins: Presences{}, Leaves: Presences{}})
			size = n
		}
		return &out[len(out)-1]
	}
	for _, key := range d.Joins.keys() {
		p := add(key)
		p.Joins[key] = d.Joins[key]
		if metas, ok := d.Leaves[key]; ok {
			p.Leaves[key] = metas
		}
	}
	for _, key := range d.Leaves.keys() {
		if _, ok := d.Joins[key]; !ok {
			add(key).Leaves[key] = d.Leaves[key]
		}
	}
	return out
}
