package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	clientCount = 300
	topics      = 20
	sparse      = 6 // of the topics, the last ones: few are there, so that gateways subscribe to them anew
	topicsKept  = 2 // that a client wants for good; one more it exchanges
	roamEvery   = 4 * time.Second

	// Topics from freshTopic on are joined by one client each, and new at its gateway: nothing covers up that their subscription is late.
	freshTopic = 1000
	freshMost  = 8 // that a client has at once
)

// freshEvery is how often a client joins a fresh topic. It stays until the round is over, so that what it lacks is owed.
func freshEvery() time.Duration { return phxtest.Scaled(3 * time.Second) }

// crowd is all clients of a run, and what they found out by themselves.
type crowd struct {
	ledger       *ledger
	addrs        []string // the gateways' WebSocket addresses
	publishEvery time.Duration
	clients      []*client
	stop         context.CancelFunc
	running      sync.WaitGroup

	publishing, roaming, goHome, scouting atomic.Bool // what the clients may do now

	fresh    atomic.Int64      // topics that nobody had joined before
	welcomes []func(topic int) // called when a client has a join's reply in hand

	gapsTold, joins, refusals, late atomic.Int64

	mu      sync.Mutex     // guards what follows
	notes   []string       // what must not be
	reasons map[string]int // why joins were refused
}

// newCrowd starts the clients.
func newCrowd(l *ledger, addrs []string, seed uint64, publishEvery time.Duration, welcomes []func(topic int)) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{ledger: l, addrs: addrs, publishEvery: publishEvery, stop: stop, welcomes: welcomes, reasons: map[string]int{}}
	for i := range clientCount {
		one := &client{
			crowd: c, number: i, home: i % len(addrs), rng: rand.New(rand.NewPCG(seed, uint64(i))),
			channels: map[int]*channel{}, pushes: map[string]push{},
		}
		for topic := range topics {
			if c.keeps(i, topic) {
				one.channels[topic] = &channel{topic: topic}
			}
		}
		c.clients = append(c.clients, one)
	}
	for _, one := range c.clients {
		c.running.Go(func() { one.run(ctx) })
	}
	return c
}

func (c *crowd) end() {
	c.stop()
	c.running.Wait()
}

// keeps reports whether a client wants a topic for good. Each crowded topic is kept by clients of every gateway.
func (c *crowd) keeps(client, topic int) bool {
	const crowded = topics - sparse
	return topic == client%crowded || topic == (client/crowded+client+1)%crowded && topic < crowded
}

// roamTo picks the topic that a client exchanges its third one for: a sparse one for one in ten.
func (c *crowd) roamTo(client int, rng *rand.Rand) int {
	if client%10 == 0 {
		return topics - 1 - rng.IntN(sparse)
	}
	return rng.IntN(topics - sparse)
}

// note keeps what a client saw that must not be.
func (c *crowd) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.notes) < findingsShown {
		c.notes = append(c.notes, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// takeNotes returns what was noted since the last call.
func (c *crowd) takeNotes() (notes []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	notes, c.notes = c.notes, nil
	return notes
}

func (c *crowd) refused(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons[reason]++
}

// unsettled says which clients lack something: a socket, a topic they want, or, with answers, the reply to a message they published. "" if none does.
func (c *crowd) unsettled(answers bool) string {
	var first string
	count := 0
	for _, one := range c.clients {
		if text := one.lacks(answers); text != "" {
			if count++; count == 1 {
				first = text
			}
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("%d clients, the first: %s", count, first)
}

func (c *client) lacks(answers bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wire == nil {
		return fmt.Sprintf("client %d has no socket", c.number)
	}
	for topic, ch := range c.channels {
		if ch.state != joined && (answers || !ch.young()) {
			return fmt.Sprintf("client %d at gateway %d is not joined to topic %d (state %d, tries %d)", c.number, c.gateway, topic, ch.state, ch.tries)
		}
	}
	if !answers {
		return ""
	}
	for ref, p := range c.pushes {
		if ch := c.channels[p.stream.id.topic]; ch != nil && ch.stream == p.stream {
			return fmt.Sprintf("client %d at gateway %d has no reply to push %s on topic %d, sent %v ago", c.number, c.gateway, ref, ch.topic, time.Since(p.sent))
		}
	}
	return ""
}

// turn has every client begin new streams, and spreads what they will do. Nobody may be publishing.
func (c *crowd) turn() {
	now := time.Now()
	for i, one := range c.clients {
		one.mu.Lock()
		one.publish = now.Add(c.publishEvery * time.Duration(i) / clientCount)
		one.roam = now.Add(roamEvery * time.Duration((i*7)%clientCount) / clientCount)
		one.scout = now.Add(freshEvery() * time.Duration((i*11)%clientCount) / clientCount)
		for _, ch := range one.channels {
			ch.stream = nil
			ch.retired = ch.topic >= freshTopic
		}
		clear(one.pushes)
		one.streams = nil
		one.mu.Unlock()
	}
}

// pause waits for d; false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
