package gateway

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/phxgate/phxgate/gateway/rules"
)

// A topic is filtered where its rule has `deliver`, an expression over the broadcast and each member's assigns. Members whose inputs are equal are a class: a broadcast is decided once for
// each class of the gateway, and what the decision makes of it is encoded once. That is done before the loops, by a few goroutines of the filter's own (filterpool.go); meanwhile the
// broadcast waits in its topic's queue on each loop, as those of a heavy topic do (heavy.go), and keeps its place in the order.

// maxGrowth is by how many bytes what an expression makes of a payload may be longer than what came.
const maxGrowth = 64 << 10

var errGrown = errors.New("the payload has become too large")

// topicFilter is a topic's expression and, by what it draws on, its members. Guarded by hub.mu, but for queue.
type topicFilter struct {
	deliver *rules.Deliver
	classes map[string]*class
	all     []*class // classes; nil: to be made. Never changed once it is made
	queue   filterQueue
}

// class is members of equal inputs.
type class struct {
	of      *topicFilter // nil: of an expression that is not the topic's now
	deliver *rules.Deliver
	key     string
	inputs  *rules.Inputs
	members int // guarded by hub.mu
}

// filterOf returns a topic's filter under the rules that hold now, nil for none. hub.mu is held.
func (srv *Server) filterOf(ht *hubTopic) *topicFilter {
	if set := srv.rules.Load(); ht.ruleSet != set {
		ht.ruleSet, ht.filter = set, nil
		if rule := set.Match(ht.name); rule != nil && rule.Deliver != nil {
			ht.filter = &topicFilter{deliver: rule.Deliver, classes: map[string]*class{}}
		}
	}
	return ht.filter
}

// list returns every class. hub.mu is held.
func (f *topicFilter) list() []*class {
	if f.all == nil && len(f.classes) > 0 {
		f.all = slices.Collect(maps.Values(f.classes))
	}
	return f.all
}

// leave takes a member out of its class. hub.mu is held.
func (c *class) leave() {
	if c.members--; c.members == 0 && c.of != nil {
		delete(c.of.classes, c.key)
		c.of.all = nil
	}
}

// classify returns the class of a member with such assigns, and takes it out of the one that it was in, if any. An expression that is not the topic's any more, or not yet, gets a class of its
// own, which lasts as long as it is used.
func (srv *Server) classify(t *topic, l *loop, d *rules.Deliver, assigns []byte, was *class) *class {
	key := string(d.InputsOf(nil, assigns))
	h := srv.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if was != nil {
		was.leave()
	}
	var f *topicFilter
	if ht := h.topics[t.name]; ht != nil && ht.local[l.id] == t {
		f = srv.filterOf(ht)
	}
	if f == nil || f.deliver != d {
		return &class{deliver: d, inputs: rules.ReadInputs([]byte(key)), members: 1}
	}
	c := f.classes[key]
	if c == nil {
		c = &class{of: f, deliver: d, key: key, inputs: rules.ReadInputs([]byte(key))}
		f.classes[key], f.all = c, nil
	}
	c.members++
	return c
}

// declassify takes a member out of its class for good.
func (h *hub) declassify(c *class) {
	h.mu.Lock()
	c.leave()
	h.mu.Unlock()
}

// classOf returns a member's class under an expression. It stays until the assigns are others, or the expression is another.
func (l *loop) classOf(ch *channel, d *rules.Deliver) *class {
	m := ch.extra()
	if m.class == nil || m.class.deliver != d || !sameSlice(m.classed, ch.assigns) {
		m.class, m.classed = l.srv.classify(ch.topic, l, d, ch.assigns, m.class), ch.assigns
	}
	return m.class
}

// sameSlice reports whether two slices are the same memory. Assigns are never changed in place.
func sameSlice(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// undecided is what is to be decided about one broadcast, or done for it, before it may be fanned out.
type undecided struct {
	srv     *Server
	deliver *rules.Deliver // nil: only its frames are to be made
	classes []*class
	forms   [numForms]bool // in use when the broadcast came

	read    sync.Once
	message *rules.Message

	decided  atomic.Bool
	verdicts map[*class]*encoded // for each of classes: what its members get, nil for nothing. Not changed once decided is true
}

// decide makes the frames that are still to be made, and decides for all classes that were there when the broadcast came.
func (e *encoded) decide() {
	f := e.filter
	e.makeAll(&f.forms)
	f.verdicts = make(map[*class]*encoded, len(f.classes))
	made := map[string]*encoded{}
	for _, c := range f.classes {
		f.verdicts[c] = e.decideFor(c, made)
	}
	f.decided.Store(true)
}

// decideFor decides for one class. made holds, by payload, what decisions have made of the broadcast.
func (e *encoded) decideFor(c *class, made map[string]*encoded) *encoded {
	f := e.filter
	f.read.Do(func() { f.message = rules.NewMessage(e.b.Topic, e.b.Event, e.b.Payload, e.b.Binary) })
	payload, ok, err := f.deliver.Decide(f.message, c.inputs)
	stats := f.srv.stats
	switch {
	case err == nil && len(payload) > len(e.b.Payload)+maxGrowth:
		return f.failed(e, errGrown)
	case err != nil:
		return f.failed(e, err)
	case !ok:
		stats.decisions.add(decisionWithheld, 1)
		return nil
	case payload == nil:
		stats.decisions.add(decisionDelivered, 1)
		return e
	}
	stats.decisions.add(decisionReplaced, 1)
	v := made[string(payload)]
	if v == nil {
		b := *e.b
		b.Payload = payload
		v = &encoded{b: &b}
		v.makeAll(&f.forms)
		made[string(payload)] = v
	}
	return v
}

// failed counts a decision that could not be made, and withholds.
func (f *undecided) failed(e *encoded, err error) *encoded {
	f.srv.stats.decisions.add(decisionFailed, 1)
	f.srv.stats.dropped.add(droppedDeliver, 1)
	f.srv.warn("a broadcast was withheld: the rule's deliver failed", "topic", e.b.Topic, "event", e.b.Event, "err", err)
	return nil
}

// filtered reports whether members may get different things.
func (e *encoded) filtered() bool { return e.filter != nil && e.filter.deliver != nil }

// ready reports whether a broadcast may be fanned out.
func (e *encoded) ready() bool { return e.filter == nil || e.filter.decided.Load() }

// verdict is what a member gets of a broadcast, nil for nothing. late holds what was decided here, for classes that came later than the broadcast; nil where there is one member only.
func (l *loop) verdict(ch *channel, e *encoded, late map[lateClass]*encoded) *encoded {
	if !e.filtered() {
		return e
	}
	c := l.classOf(ch, e.filter.deliver)
	if e.filter.decided.Load() {
		if v, ok := e.filter.verdicts[c]; ok {
			return v
		}
	}
	key := lateClass{e, c}
	v, ok := late[key]
	if !ok {
		v = e.decideFor(c, map[string]*encoded{})
		if late != nil {
			late[key] = v
		}
	}
	return v
}

type lateClass struct {
	e *encoded
	c *class
}

// fanOutFiltered is fanOut where members may get different things. withheld counts what rules kept from members.
func (l *loop) fanOutFiltered(t *topic, batch []*encoded) (withheld int) {
	late := map[lateClass]*encoded{}
	slow := l.slowOf(t)
	noForm := 0
	for _, ch := range t.members {
		for i, e := range batch {
			if ch.excluded && slices.Contains(l.excluded[ch], i) {
				continue
			}
			v := l.verdict(ch, e, late)
			if v == nil {
				withheld++
				continue
			}
			if !l.sendOne(&slow, ch, v) {
				noForm++
			}
		}
	}
	if noForm > 0 {
		l.stats.dropped.add(droppedBinaryV1, noForm)
	}
	return withheld
}
