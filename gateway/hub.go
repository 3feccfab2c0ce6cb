package gateway

import (
	"sync"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
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
	local     []*topic                  // by loop; nil where no channel of that loop has the topic
	refs      int                       // channels that have joined or are joining
	members   [phx.NumSerializers]int32 // joined, by serializer: which encodings a broadcast needs
	confirmed bool                      // the subscription is in force
	dead      bool                      // taken out of the table
	waiting   []func(error)             // joins that wait for the confirmation
}

func newHub(bus Bus, linger time.Duration) *hub {
	return &hub{bus: bus, linger: linger, topics: map[string]*hubTopic{}, idle: map[*hubTopic]time.Time{}}
}

// acquire makes the topic known for a channel of a loop. confirmed says that its subscription is in force; else wait is called when it is, or
// cannot be, on any goroutine. Every acquire needs a release.
func (h *hub) acquire(name string, l *loop, wait func(error)) (t *topic, confirmed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ht := h.topics[name]
	if ht == nil {
		ht = &hubTopic{name: name, local: make([]*topic, len(l.srv.loops))}
		h.topics[name] = ht
		h.bus.Subscribe(name, func(err error) { h.subscribed(ht, err) })
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
	if planted.SubscribeLate {
		return t, true
	}
	if !ht.confirmed {
		ht.waiting = append(ht.waiting, wait)
	}
	return t, ht.confirmed
}

// subscribed tells the joins that waited.
func (h *hub) subscribed(ht *hubTopic, err error) {
	h.mu.Lock()
	waiting := ht.waiting
	ht.waiting = nil
	ht.confirmed = err == nil
	if err != nil && !ht.dead {
		// The next join subscribes anew. Those that wait hold the old entry, which nobody finds any more.
		h.drop(ht)
	}
	h.mu.Unlock()
	for _, f := range waiting {
		f(err)
	}
}

// joined counts a member for the encodings that broadcasts need.
func (h *hub) joined(name string, s phx.Serializer) {
	h.mu.Lock()
	if ht := h.topics[name]; ht != nil {
		ht.members[s]++
	}
	h.mu.Unlock()
}

// release undoes an acquire. A topic that nobody needs stays subscribed for the linger if a channel had joined, since people come back; after
// a refused join it does not.
func (h *hub) release(l *loop, t *topic, s phx.Serializer, wasMember bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.refs--
	ht := h.topics[t.name]
	if ht == nil || ht.local[l.id] != t {
		return // its subscription failed and the entry is gone
	}
	if t.refs == 0 {
		ht.local[l.id] = nil
	}
	ht.refs--
	if wasMember {
		ht.members[s]--
	}
	if ht.refs > 0 {
		return
	}
	if wasMember && ht.confirmed {
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

// count is how many topics are subscribed.
func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// Broadcast implements [Inbox]: the frames are made here, once for each serializer in use, and not on the loops.
func (srv *Server) Broadcast(b *Broadcast) {
	h := srv.hub
	e := &encoded{b: b}
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
	var few [8]*topic
	local := append(few[:0], ht.local...)
	h.mu.Unlock()
	size := 0
	for s, n := range members {
		if n > 0 {
			e.frames[s] = encodeBroadcast(phx.Serializer(s), b)
			e.size = max(e.size, len(e.frames[s]))
			size += len(e.frames[s])
		}
	}
	for i, t := range local {
		if t != nil {
			srv.loops[i].mailbox.postBounded(&delivery{t, e}, size)
		}
	}
}
