package nemesis

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

// client is one user: it keeps a socket, joins the topics it wants, publishes on them, and now and then exchanges one topic for another. What it is told it acts on
// as phoenix.js does (socket.js, channel.js).
type client struct {
	crowd  *crowd
	number int
	home   int        // gateway that it prefers
	rng    *rand.Rand // owned by run

	mu       sync.Mutex // guards what follows
	wire     *wire      // nil: not connected
	gateway  int
	lastRef  int
	channels map[int]*channel // by topic
	pushes   map[string]push  // published, not answered, by ref
	streams  []*stream        // of this round
	publish  time.Time        // when to publish next
	roam     time.Time        // when to exchange a topic
	scout    time.Time        // when to join a fresh topic
}

// push is a published message that waits for its reply.
type push struct {
	stream *stream
	n      int
	sent   time.Time
}

// tickEvery is how often a client looks what is due.
const tickEvery = 50 * time.Millisecond

// run keeps the client going until ctx ends.
func (c *client) run(ctx context.Context) {
	tries := 0
	for ctx.Err() == nil {
		at := c.home
		if tries > 0 {
			at = c.rng.IntN(len(c.crowd.addrs))
		}
		w, err := dialWire(ctx, c.crowd.addrs[at])
		if err != nil {
			pause(ctx, reconnectAfter[min(tries, len(reconnectAfter)-1)])
			tries++
			continue
		}
		tries = 0
		closed := make(chan struct{})
		var reading sync.WaitGroup
		c.opened(w, at)
		reading.Go(func() {
			defer close(closed)
			c.read(w)
		})
		byItself := c.drive(ctx, w, closed)
		if byItself {
			w.close()
		} else {
			w.conn.Close()
			tries = 1 // a gateway that closed is not the first choice
		}
		reading.Wait()
		c.lost(byItself)
	}
}

// opened makes every channel join at once, as phoenix.js does when a socket opens.
func (c *client) opened(w *wire, gateway int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire, c.gateway = w, gateway
	for _, ch := range c.channels {
		ch.tries = 0
		c.join(ch)
	}
}

// lost notes the end of the socket: with it every channel's membership ends.
func (c *client) lost(byItself bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire = nil
	clear(c.pushes)
	if !byItself {
		c.breakOff()
	}
	for topic, ch := range c.channels {
		switch {
		case byItself:
			ch.lose(left)
		case ch.state == joined:
			c.told(ch)
		}
		if ch.state == leaving {
			delete(c.channels, topic)
		}
		ch.state = errored
	}
}

// told notes that the client knows of missed messages. What it published on any topic, also on one that it has left meanwhile, went the same way to NATS and may
// be lost too.
func (c *client) told(ch *channel) {
	c.crowd.gapsTold.Add(1)
	ch.lose(told)
	c.breakOff()
}

func (c *client) breakOff() {
	for _, s := range c.streams {
		s.breakOff()
	}
}

// drive does what is due until the socket is over (false) or the client closes it (true).
func (c *client) drive(ctx context.Context, w *wire, closed <-chan struct{}) (byItself bool) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-closed:
			return false
		case now := <-tick.C:
			if c.crowd.goHome.Load() && c.gateway != c.home && c.rng.IntN(10) == 0 {
				return true
			}
			c.tick(now)
		}
	}
}

func (c *client) tick(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, ch := range c.channels {
		switch {
		case ch.retired && ch.state == errored:
			delete(c.channels, topic)
		case ch.retired && ch.state == joined:
			c.leave(ch)
		case ch.state == errored && now.After(ch.due):
			c.join(ch)
		case ch.state == joining && now.After(ch.due):
			c.crowd.note("client %d, topic %d: no answer to a join at gateway %d for %v", c.number, ch.topic, c.gateway, joinTimeout)
			ch.fail()
		}
	}
	if c.crowd.roaming.Load() && now.After(c.roam) {
		c.roam = now.Add(c.about(roamEvery))
		c.exchange()
	}
	if c.crowd.scouting.Load() && now.After(c.scout) {
		c.scout = now.Add(c.about(freshEvery()))
		c.joinFresh()
	}
	if c.crowd.publishing.Load() && now.After(c.publish) {
		c.publish = now.Add(c.about(c.crowd.publishEvery))
		c.publishOne()
	}
}

// about is a random time around d.
func (c *client) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(c.rng.Int64N(int64(d)))
}

// send writes a message; false if the socket cannot take it, which ends it.
func (c *client) send(joinRef, ref string, topic int, event string, payload any) bool {
	if err := c.wire.send(joinRef, ref, topic, event, payload); err != nil {
		c.wire.conn.Close()
		return false
	}
	return true
}

func (c *client) ref() string {
	c.lastRef++
	return strconv.Itoa(c.lastRef)
}

func (c *client) join(ch *channel) {
	ch.state, ch.joinRef, ch.due = joining, c.ref(), time.Now().Add(joinTimeout)
	c.send(ch.joinRef, ch.joinRef, ch.topic, "phx_join", struct{}{})
}

func (c *client) leave(ch *channel) {
	ch.lose(left)
	ch.state = leaving
	c.send(ch.joinRef, c.ref(), ch.topic, "phx_leave", struct{}{})
}

// exchange leaves the topic that the client roams with, and joins another.
func (c *client) exchange() {
	for topic, ch := range c.channels {
		if ch.state == joined && topic < topics && !c.crowd.keeps(c.number, topic) {
			c.leave(ch)
			break
		}
	}
	if c.count(0, topics) <= topicsKept+1 {
		c.want(c.crowd.roamTo(c.number, c.rng))
	}
}

// joinFresh joins a topic that nobody was ever joined to.
func (c *client) joinFresh() {
	if c.count(freshTopic, math.MaxInt) < freshMost {
		c.want(freshTopic + int(c.crowd.fresh.Add(1)))
	}
}

// want joins a topic, unless that is done or under way.
func (c *client) want(topic int) {
	if c.channels[topic] == nil {
		ch := &channel{topic: topic}
		c.channels[topic] = ch
		c.join(ch)
	}
}

// count is how many topics of a range the client has.
func (c *client) count(from, to int) (n int) {
	for topic := range c.channels {
		if from <= topic && topic < to {
			n++
		}
	}
	return n
}

// publishOne publishes on one of the topics that the client is joined to.
func (c *client) publishOne() {
	var ready []*channel
	for _, topic := range slices.Sorted(maps.Keys(c.channels)) {
		if ch := c.channels[topic]; ch.state == joined {
			ready = append(ready, ch)
		}
	}
	if len(ready) == 0 {
		return
	}
	ch := ready[c.rng.IntN(len(ready))]
	if ch.stream == nil {
		ch.stream = c.crowd.ledger.open(c.number, ch.topic)
		c.streams = append(c.streams, ch.stream)
	}
	s, ref := ch.stream, c.ref()
	n := s.next(pending)
	c.pushes[ref] = push{stream: s, n: n, sent: time.Now()}
	c.send(ch.joinRef, ref, ch.topic, numberedEvent, number{c.number, s.id.epoch, n})
}
