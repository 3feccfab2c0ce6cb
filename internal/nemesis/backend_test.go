package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// backend publishes numbered broadcasts at one NATS server, on all topics in turn.
type backend struct {
	server     int // of NATS; its publisher number is -1-server
	ledger     *ledger
	nc         *nats.Conn
	publishing atomic.Bool

	mu      sync.Mutex      // guards what follows
	whole   bool            // since the connection came up, every other backend answered: what is published here reaches everywhere
	lives   int             // connections that there were
	streams map[int]*stream // by topic
}

// pingSubject is where a backend answers the others.
func pingSubject(server int) string { return fmt.Sprintf("nemesis.ping.%d", server) }

// startBackend connects to a NATS server; what it publishes and answers ends with the test.
func startBackend(t *testing.T, l *ledger, server int, url string, every time.Duration, seed uint64) *backend {
	t.Helper()
	b := &backend{server: server, ledger: l, streams: map[int]*stream{}}
	var err error
	b.nc, err = nats.Connect(url, nats.Name(fmt.Sprintf("backend %d", server)), nats.Timeout(2*time.Second), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1), nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreDiscoveredServers(), nats.DisconnectErrHandler(func(*nats.Conn, error) { b.broke() }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what broke shows by the handler before
	if err != nil {
		t.Fatalf("backend %d: %v", server, err)
	}
	if _, err := b.nc.Subscribe(pingSubject(server), func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatalf("backend %d: %v", server, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.run(ctx, every, rand.New(rand.NewPCG(seed, uint64(1_000_000+server)))) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		b.nc.Close()
	})
	return b
}

// broke ends the streams: of what was under way nothing is known.
func (b *backend) broke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole = false
	b.lives++
	for _, s := range b.streams {
		s.breakOff()
	}
	clear(b.streams)
}

// isWhole asks the other backends, if need be, whether they hear this one. Their interest reaches a NATS server together with the gateways'.
func (b *backend) isWhole(servers int) bool {
	b.mu.Lock()
	whole, life := b.whole, b.lives
	b.mu.Unlock()
	if whole {
		return true
	}
	for other := range servers {
		if other == b.server {
			continue
		}
		if _, err := b.nc.Request(pingSubject(other), nil, 250*time.Millisecond); err != nil {
			return false
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.whole = life == b.lives
	return b.whole
}

func (b *backend) run(ctx context.Context, every time.Duration, rng *rand.Rand) {
	for pause(ctx, every/2+time.Duration(rng.Int64N(int64(every)))) {
		if b.publishing.Load() && b.isWhole(serverCount) {
			b.publish(rng.IntN(topics))
		}
	}
}

// publish sends the next number of a topic, in one form of broadcast or the other.
func (b *backend) publish(topic int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.whole {
		return
	}
	s := b.streams[topic]
	if s == nil {
		s = b.ledger.open(-1-b.server, topic)
		b.streams[topic] = s
	}
	n := s.next(handed)
	msg := nats.NewMsg("phx.topic." + phxtest.TopicTokens(topicName(topic)))
	payload, err := json.Marshal(number{-1 - b.server, s.id.epoch, n})
	if err == nil {
		if b.server == 0 {
			msg.Data = fmt.Appendf(nil, `{"event":%q,"payload":%s}`, numberedEvent, payload)
		} else {
			msg.Header.Set("Phx-Event", numberedEvent)
			msg.Data = payload
		}
		err = b.nc.PublishMsg(msg)
	}
	if err != nil {
		s.settle(n, refused)
	}
}

// welcome publishes one message on a topic that somebody has just joined.
func (b *backend) welcome(topic int) {
	if b.publishing.Load() {
		b.publish(topic)
	}
}

// flood sends much to all gateways that is for nobody, more than their inboxes hold, until stop is closed.
func (b *backend) flood(stop <-chan struct{}) {
	const subject = "phx.socket.nobody"
	large, small := make([]byte, 16<<10), make([]byte, 16) // the small ones take the room that the large leave
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for {
		for i := range 1000 {
			data := small
			if i%10 == 0 {
				data = large
			}
			if b.nc.Publish(subject, data) != nil {
				return
			}
		}
		select {
		case <-stop:
			return
		case <-pause.C:
		}
	}
}

// probe publishes on every topic that it has published on, behind all else, and reports whether NATS has it.
func (b *backend) probe() bool {
	b.mu.Lock()
	published := slices.Collect(maps.Keys(b.streams))
	b.mu.Unlock()
	for _, topic := range published {
		b.publish(topic)
	}
	return b.nc.FlushTimeout(time.Second) == nil
}

// turn begins new streams.
func (b *backend) turn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.streams)
}
