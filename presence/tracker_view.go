package presence

import (
	"bytes"
	"time"
)

const (
	toldBytes    = 64 << 10 // of a diff that this gateway makes
	emptyPayload = `{"joins":{},"leaves":{}}`
)

// watched is a topic that channels of this gateway watch.
type watched struct {
	topic   string
	view    View
	members map[string]*member // by channel id
	owed    []*member          // that have not been told yet
	state   []byte             // the view as presence_state says it; nil: to be made

	checking bool
	asking   bool // in checks.asks
	tries    int
	askAt    time.Time // when to ask again, while checking
	dropped  Stamp     // the furthest of the diffs that came meanwhile
	early    View      // what diffs told clients before the view was known
	parts    Presences // of a state that has not come whole
	partOf   TopicState

	counted   int // members that want the count
	countSaid int
	countAt   time.Time
	countDue  bool
}

// watch makes a channel watch its topic.
func (t *Tracker) watch(m *member) {
	w := t.topics[m.topic]
	if w == nil {
		w = &watched{topic: m.topic, members: map[string]*member{}}
		t.topics[m.topic] = w
	}
	w.members[m.channel] = m
	w.owed = append(w.owed, m)
	if m.counted {
		w.counted++
	}
	m.watched = w
	if !w.view.Known() {
		t.check(w)
	}
}

// unwatch ends that. A view without members goes: nothing makes sure that the topic's diffs still come.
func (t *Tracker) unwatch(m *member) {
	w := m.watched
	delete(w.members, m.channel)
	if m.counted {
		w.counted--
	}
	m.watched, m.owed = nil, false
	if len(w.members) == 0 {
		delete(t.topics, w.topic)
		delete(t.checks.pending, w)
		delete(t.checks.counts, w)
		delete(t.checks.waits, w)
	}
}

// Diff takes a diff from the presence service: the payload, and the JSON of its [Stamp]. It may wait while the tracker is behind.
func (t *Tracker) Diff(topic string, payload, stamp []byte) {
	t.doBounded(func() { t.diff(topic, payload, stamp) })
}

func (t *Tracker) diff(topic string, payload, stamp []byte) {
	var s Stamp
	if !parseInto(stamp, &s) {
		t.stats.bad.Add(1)
		return
	}
	pass := func() {
		if string(payload) != emptyPayload {
			t.clients.BroadcastPresence(topic, eventDiff, payload)
		}
	}
	w := t.topics[topic]
	if w == nil {
		pass() // nobody watches: the members that there are see it as any broadcast
		return
	}
	switch {
	case !w.view.Known():
		w.note(s)
		if d, err := parseDiff(topic, s, payload); err != nil {
			t.stats.bad.Add(1)
		} else if w.lists() {
			w.early.Apply(&d)
			pass()
		}
	case w.checking:
		w.note(s)
	default:
		switch w.view.Fits(s) {
		case FitOld:
			t.stats.old.Add(1)
		case FitGap:
			t.stats.gaps.Add(1)
			w.note(s)
			t.check(w)
		case FitExact:
			d, err := parseDiff(topic, s, payload)
			if err != nil {
				t.stats.bad.Add(1)
				t.check(w)
				return
			}
			t.stats.applied.Add(1)
			w.view.Apply(&d)
			w.state = nil
			t.countSoon(w)
			if w.lists() {
				pass()
			}
			t.serve(w)
		}
	}
}

// note remembers the furthest diff that was not applied.
func (w *watched) note(s Stamp) {
	if s.Epoch != w.dropped.Epoch || s.Rev > w.dropped.Rev {
		w.dropped = s
	}
}

// lists reports whether there are members that want to know who is there. There may be members of both kinds where the rules were reloaded.
func (w *watched) lists() bool { return w.counted < len(w.members) }

// states takes owners' answers to checks.
func (t *Tracker) states(states []TopicState) {
	for i := range states {
		st := &states[i]
		w := t.topics[st.Topic]
		if w == nil {
			continue
		}
		if st.Same {
			t.answered(w, st, nil)
			continue
		}
		p, err := ParsePresences(st.Presences)
		if err != nil {
			t.stats.bad.Add(1)
			continue
		}
		if st.Part == 0 {
			w.parts, w.partOf = p, *st
		} else if w.parts == nil || w.partOf.Part != st.Part-1 || w.partOf.Rev != st.Rev || w.partOf.Epoch != st.Epoch {
			w.parts = nil // a part is missing: it is asked again
			continue
		} else {
			for key, metas := range p {
				w.parts[key] = metas
			}
			w.partOf.Part = st.Part
		}
		if st.Part == st.Parts-1 {
			p := w.parts
			w.parts = nil
			t.answered(w, st, p)
		}
	}
}

// answered takes an owner's whole answer.
func (t *Tracker) answered(w *watched, st *TopicState, p Presences) {
	behind := st.Epoch == w.view.epoch && st.Rev < w.view.rev || st.Epoch == w.dropped.Epoch && st.Rev < w.dropped.Rev
	known := w.view.Known()
	if behind || st.Same && !w.view.Confirm(st.Epoch, st.Rev, st.Hash) {
		if w.checking {
			w.askAt = time.Now().Add(askBehind)
		}
		return
	}
	w.checking, w.dropped = false, Stamp{}
	delete(t.checks.pending, w)
	if !st.Same {
		t.stats.replaced.Add(1)
		d := w.view.Replace(w.topic, st.Epoch, st.Rev, p)
		w.state = nil
		if known {
			t.countSoon(w)
		} else { // members are told by themselves; but phoenix.js plays what it was told early over the state, so that only what is wrong of it is told
			w.countSaid = w.view.Len()
			d = w.early.Replace(w.topic, st.Epoch, st.Rev, p)
			d.Joins, w.early = nil, View{}
		}
		if w.lists() && !d.Empty() {
			for _, piece := range d.Split(toldBytes) {
				t.clients.BroadcastPresence(w.topic, eventDiff, piece.AppendPayload(nil))
			}
		}
	}
	t.serve(w)
}

// parseDiff reads the payload of a diff.
func parseDiff(topic string, s Stamp, payload []byte) (Diff, error) {
	var sides struct {
		Joins, Leaves rawJSON
	}
	d := Diff{Topic: topic, Stamp: s}
	if !parseInto(payload, &sides) {
		return d, errBadDiff
	}
	var err error
	if d.Joins, err = ParsePresences(bytes.Clone(sides.Joins)); err != nil {
		return d, err
	}
	d.Leaves, err = ParsePresences(bytes.Clone(sides.Leaves))
	return d, err
}
