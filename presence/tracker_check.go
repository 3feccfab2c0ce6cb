package presence

import "time"

// Times and bounds of checks.
const (
	askAgain    = 500 * time.Millisecond // after a check that was not answered; doubled each time
	askMost     = 2 * time.Second
	askBehind   = 50 * time.Millisecond  // after an answer from an owner that was behind
	joinerWaits = 100 * time.Millisecond // for a view that should have the joiner in it by now
	topicsAsked = 500                    // in one message
)

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
