package presence

import (
	"bytes"
	"time"
)

// Times and bounds of views.
const (
	askAgain     = 500 * time.Millisecond // after a check that was not answered; doubled each time
	askMost      = 2 * time.Second
	askBehind    = 50 * time.Millisecond  // after an answer from an owner that was behind
	joinerWaits  = 100 * time.Millisecond // for a view that should have the joiner in it by now
	topicsAsked  = 500                    // in one message
	toldBytes    = 64 << 10               // of a diff that this gateway makes
	countPause   = time.Second            // between two counts of a topic
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

// checks is which topics are being compared with their owners'.
type checks struct {
	asks    []*watched // to be asked at the end of the turn
	pending map[*watched]struct{}
	counts  map[*watched]struct{} // whose count is to be told
	waits   map[*watched]struct{} // with members that are owed something
}

func (c *checks) init() {
	c.pending, c.counts = map[*watched]struct{}{}, map[*watched]struct{}{}
	c.waits = map[*watched]struct{}{}
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

// check has a view compared with its owner's.
func (t *Tracker) check(w *watched) {
	w.checking = true
	w.tries = 0
	t.checks.pending[w] = struct{}{}
	t.askFor(w)
}

func (t *Tracker) askFor(w *watched) {
	w.askAt = time.Now().Add(min(askAgain<<min(w.tries, 4), askMost))
	w.tries++
	if !w.asking {
		w.asking = true
		t.checks.asks = append(t.checks.asks, w)
	}
}

// checkAll compares all views, or those of some partitions.
func (t *Tracker) checkAll(partitions []int) {
	var concerned [Partitions]bool
	for _, p := range partitions {
		if p >= 0 && p < Partitions {
			concerned[p] = true
		}
	}
	for topic, w := range t.topics {
		if partitions == nil || concerned[Partition(topic)] {
			t.check(w)
		}
	}
}

// ask sends what is to be asked, by partition.
func (t *Tracker) ask() {
	if len(t.checks.asks) == 0 {
		return
	}
	asks := t.checks.asks
	t.checks.asks = nil
	byPartition := map[int][]CheckTopic{}
	send := func(p int) {
		t.stats.checks.Add(int64(len(byPartition[p])))
		t.bus.Check(p, mustJSON(Check{Gateway: t.cfg.Gateway, Topics: byPartition[p]}))
		delete(byPartition, p)
	}
	for _, w := range asks {
		w.asking = false
		if !w.checking || t.topics[w.topic] != w {
			continue
		}
		p := Partition(w.topic)
		byPartition[p] = append(byPartition[p], w.view.CheckTopic(w.topic))
		if len(byPartition[p]) >= topicsAsked {
			send(p)
		}
	}
	for p := range byPartition {
		send(p)
	}
}

// lookAtChecks asks again where nobody answered.
func (t *Tracker) lookAtChecks(now time.Time) {
	for w := range t.checks.pending {
		if now.After(w.askAt) && t.bus.Available() {
			t.askFor(w)
		}
	}
	for w := range t.checks.waits {
		for _, m := range w.owed {
			if m.stored && !w.checking && now.Sub(m.since) >= joinerWaits {
				m.since = now
				t.check(w)
				break
			}
		}
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

// fit reports whether the view is such that a member can be told: known, not in doubt, and with the member's own entry in it.
func (w *watched) fit(m *member) bool {
	return w.view.Known() && !w.checking && m.stored && w.view.Rev() >= m.after
}

// serve tells members what they are owed, as far as the view allows.
func (t *Tracker) serve(w *watched) {
	if w == nil {
		return
	}
	if len(w.owed) == 0 {
		delete(t.checks.waits, w)
		return
	}
	var still []*member
	for _, m := range w.owed {
		switch {
		case !m.owed: // it is gone
		case !w.fit(m):
			still = append(still, m)
		case m.counted:
			m.owed = false
			t.clients.PushPresence(m.channel, eventCount, countPayload(w.view.Len()))
		default:
			m.owed = false
			if w.state == nil {
				w.state = w.view.Presences().AppendJSON(nil)
			}
			t.clients.PushPresence(m.channel, eventState, w.state)
		}
	}
	w.owed = still
	if len(still) > 0 {
		t.checks.waits[w] = struct{}{}
	} else {
		delete(t.checks.waits, w)
	}
}

// countSoon has members that want it told how many there are, at most once in countPause.
func (t *Tracker) countSoon(w *watched) {
	if w.counted > 0 && !w.countDue {
		w.countDue = true
		t.checks.counts[w] = struct{}{}
	}
}

func (t *Tracker) tellCounts(now time.Time) {
	for w := range t.checks.counts {
		if now.Sub(w.countAt) < countPause {
			continue
		}
		delete(t.checks.counts, w)
		w.countDue, w.countAt = false, now
		if n := w.view.Len(); n != w.countSaid && len(w.members) > 0 {
			w.countSaid = n
			t.clients.BroadcastPresence(w.topic, eventCount, countPayload(n))
		}
	}
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
