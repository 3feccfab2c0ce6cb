package gateway

import (
	"slices"
	"sync"
	"time"

	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/planted"
)

// hub knows which topics have members on this gateway, keeps one subscription for each, and brings every broadcast to the loops concerned.
type hub struct {
	bus    Bus
	linger time.Duration

	mu     sync.Mutex
	topics map[string]*hubTopic
	idle   map[*hubTopic]time.Time // subscribed without members or joiners, and since when
}

// hubTopic is one topic on this gateway. All fields are guarded by hub.mu.
type hubTopic struct {
	name      string
	local     []*topic        // by loop; nil where no channel of that loop has the topic
	refs      int             // channels that have joined or are joining
	members   [numForms]int32 // joined, by form: which frames a broadcast needs
	made      bool            // the subscription was in force once
	confirmed bool            // it is in force, and no gap was told since
	gaps      int             // that were told
	dead      bool            // taken out of the table
	waiting   []func(error)   // joins that wait for a confirmation; it was asked for if there are any

	ruleSet *rules.Set   // that filter is of
	filter  *topicFilter // nil: every member gets every broadcast
	large   *filterQueue // of broadcasts that are to be compressed; nil while there was none
}

func newHub(bus Bus, linger time.Duration) *hub {
	return &hub{bus: bus, linger: linger, topics: map[string]*hubTopic{}, idle: map[*hubTopic]time.Time{}}
}

// acquire makes the topic known for a channel of a loop. confirmed says that its subscription is in force; else wait is called when it is, or
// cannot be, on any goroutine, and must not call the hub. Every acquire needs a release.
func (h *hub) acquire(name string, l *loop, wait func(error)) (t *topic, confirmed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ht := h.topics[name]
	if ht == nil {
		ht = &hubTopic{name: name, local: make([]*topic, len(l.srv.loops))}
		h.topics[name] = ht
	}
	if ht.refs == 0 {
		delete(h.idle, ht)
	}
	ht.refs++
	t = ht.local[l.id]
	if t == nil {
		t = &topic{name: ht.name}
		ht.local[l.id] = t
	}
	t.refs++
	return t, h.await(ht, wait)
}

// confirmedAgain reports whether the topic of a channel that is joining is confirmed although there was a gap; else wait is called as for acquire.
func (h *hub) confirmedAgain(t *topic, l *loop, wait func(error)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ht := h.topics[t.name]
	if ht == nil || ht.local[l.id] != t {
		return false // refused, which the channel is told
	}
	return h.await(ht, wait)
}

// await reports whether the topic is confirmed. If not it asks the bus, unless that was done, and has wait called with the answer. h.mu is held.
func (h *hub) await(ht *hubTopic, wait func(error)) bool {
	if ht.confirmed {
		return true
	}
	ht.waiting = append(ht.waiting, wait)
	if len(ht.waiting) == 1 {
		h.subscribe(ht)
	}
	return planted.SubscribeAfterReply
}

// subscribe asks the bus to make the topic's subscription, or to confirm it anew. h.mu is held.
func (h *hub) subscribe(ht *hubTopic) {
	gaps := ht.gaps
	h.bus.Subscribe(ht.name, func(err error) { h.subscribed(ht, gaps, err) })
}

// subscribed tells the joins that waited, unless there was a gap since the bus was asked: what it says may be of a time before. They are told while the lock is held, so
// that a gap that is told next comes after it on every loop.
func (h *hub) subscribed(ht *hubTopic, gaps int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && gaps != ht.gaps && !ht.dead {
		h.subscribe(ht)
		return
	}
	if err == nil {
		ht.made, ht.confirmed = true, true
	} else if !ht.made && !ht.dead {
		// The next join subscribes anew. Those that wait hold the old entry, which nobody finds any more.
		h.drop(ht)
	}
	ht.tell(err)
}

// tell answers the joins that wait. hub.mu is held.
func (ht *hubTopic) tell(err error) {
	for _, f := range ht.waiting {
		f(err)
	}
	ht.waiting = nil
}

// gap takes it that messages of topics were missed, with nil of all: the next join of each waits for a confirmation anew.
func (h *hub) gap(only map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, ht := range h.topics {
		if only == nil || only[name] {
			ht.confirmed = false
			ht.gaps++
		}
	}
}

// refuse ends a topic that the bus brings no more, and returns it as each loop has it. The next join subscribes anew.
func (h *hub) refuse(name string) []*topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	ht := h.topics[name]
	if ht == nil {
		return nil
	}
	h.drop(ht)
	ht.tell(ErrUnavailable)
	return ht.local
}

// joined counts a member for the encodings that broadcasts need.
func (h *hub) joined(name string, f form) {
	h.mu.Lock()
	if ht := h.topics[name]; ht != nil {
		ht.members[f]++
	}
	h.mu.Unlock()
}

// release undoes an acquire. A topic that nobody needs stays subscribed for the linger if a channel had joined, since people come back; after
// a refused join it does not.
func (h *hub) release(l *loop, t *topic, f form, wasMember bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.refs--
	ht := h.topics[t.name]
	if ht == nil || ht.local[l.id] != t {
		return // its subscription failed or was refused, and the entry is gone
	}
	if t.refs == 0 {
		ht.local[l.id] = nil
	}
	ht.refs--
	if wasMember {
		ht.members[f]--
	}
	if ht.refs > 0 {
		return
	}
	if wasMember && ht.made {
		h.idle[ht] = time.Now()
		return
	}
	h.drop(ht)
}

// drop ends a topic. h.mu is held.
func (h *hub) drop(ht *hubTopic) {
	ht.dead = true
	delete(h.topics, ht.name)
	delete(h.idle, ht)
	h.bus.Unsubscribe(ht.name)
}

// sweep ends topics that lingered long enough.
func (h *hub) sweep(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ht, since := range h.idle {
		if now.Sub(since) >= h.linger {
			h.drop(ht)
		}
	}
}

// localTopics are a topic's parts by loop; nil where a loop has none, or all.
func (h *hub) localTopics(name string) []*topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ht := h.topics[name]; ht != nil {
		return append([]*topic(nil), ht.local...)
	}
	return nil
}

// count is how many topics are subscribed.
func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// largeQueue is where a topic's large broadcasts wait to be compressed. hub.mu is held.
func (ht *hubTopic) largeQueue() *filterQueue {
	if ht.large == nil {
		ht.large = &filterQueue{}
	}
	return ht.large
}

// Broadcast implements [Inbox].
func (srv *Server) Broadcast(b *Broadcast) { srv.broadcast(&encoded{b: b}) }

// broadcast makes the frames here, once for each form in use, and not on the loops.
func (srv *Server) broadcast(e *encoded) {
	h, b := srv.hub, e.b
	if b.From != "" {
		e.from, e.hasFrom = parseChannelID(srv.cfg.ID, b.From)
	}
	h.mu.Lock()
	ht := h.topics[b.Topic]
	if ht == nil || ht.refs == 0 {
		h.mu.Unlock()
		return
	}
	members := ht.members
	filter := srv.filterOf(ht)
	var queue *filterQueue
	deflates := false
	for f, n := range members {
		deflates = deflates || n > 0 && form(f).deflates()
	}
	switch {
	case filter != nil && !e.kept:
		e.filter = &undecided{srv: srv, deliver: filter.deliver, classes: filter.list()}
		queue = &filter.queue
	case deflates && !e.kept && len(b.Payload) >= deflateApart:
		e.filter = &undecided{srv: srv}
		queue = ht.largeQueue()
	}
	var few [8]*topic
	local := append(few[:0], ht.local...)
	h.mu.Unlock()
	size := 0
	for i, n := range members {
		f := form(i)
		switch {
		case n == 0:
			continue
		case e.filter == nil || !f.deflates():
			e.frames[f] = e.make(f)
			size += len(e.frames[f])
			e.size = max(e.size, len(e.frames[f]))
		default:
			e.size = max(e.size, len(b.Payload)) // when it is decided about it is compressed
		}
		if e.filter != nil {
			e.filter.forms[f] = true
		}
	}
	if e.filter != nil && !srv.filters.add(queue, e, srv.tellDecided(local)) {
		srv.GapOf(b.Topic)
		srv.stats.dropped.add(droppedTopicFull, 1)
		return
	}
	for i, t := range local {
		if t != nil {
			srv.loops[i].mailbox.postBounded(&delivery{t, e}, size)
		}
	}
}

// tellDecided returns what tells the loops that have a topic. It never waits: each such mail was waited for.
func (srv *Server) tellDecided(local []*topic) func() {
	local = slices.Clone(local)
	return func() {
		for i, t := range local {
			if t != nil {
				srv.loops[i].mailbox.post(decided{t})
			}
		}
	}
}
