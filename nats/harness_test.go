package nats

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// recorder is an inbox that notes everything, in order, as text: "topic event payload", "channel …", "socket …", "gap".
type recorder struct {
	gate chan struct{} // where set, a broadcast waits until it is closed

	mu    sync.Mutex // guards lines
	lines []string
}

func (r *recorder) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *recorder) Broadcast(b *gateway.Broadcast) {
	if r.gate != nil {
		<-r.gate
	}
	r.note("topic " + b.Topic + " " + b.Event + " " + string(b.Payload))
}

func (r *recorder) Channel(m *gateway.ChannelMessage) {
	r.note("channel " + m.Channel + " " + m.Event + " " + string(m.Payload))
}

func (r *recorder) Socket(m *gateway.SocketMessage) { r.note("socket " + m.ID) }

func (r *recorder) RecheckTopic(topic string) { r.note("recheck topic " + topic) }
func (r *recorder) RecheckSocket(id string)   { r.note("recheck socket " + id) }

func (r *recorder) Gap(topics []string) {
	if topics == nil {
		r.note("gap")
	}
	for _, topic := range topics {
		r.note("gap " + topic)
	}
}

func (r *recorder) Refused(topics []string) {
	for _, topic := range topics {
		r.note("refused " + topic)
	}
}

func (r *recorder) GapOf(topic string) { r.note("gap of " + topic) }
func (r *recorder) Full(string) bool   { return false }

func (r *recorder) Announced(s *gateway.Status) {
	r.note(fmt.Sprintf("gateway %s %s: %d sockets, %d channels, %d topics, %v behind, %s, at %s", s.ID, s.Version, s.Sockets, s.Channels, s.Topics, s.Lag, s.State, s.NATS))
}

// count is how often a line was noted.
func (r *recorder) count(line string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if l == line {
			n++
		}
	}
	return n
}

func (r *recorder) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lines)
}

// startBus connects a bus with a recorder and waits until it is up. It is closed when the test ends.
func startBus(t testing.TB, url string) (*Bus, *recorder) {
	t.Helper()
	r := &recorder{}
	return startBusWith(t, url, r), r
}

func startBusWith(t testing.TB, url string, inbox gateway.Inbox) *Bus {
	t.Helper()
	b := dialBus(t, url)
	runBus(t, b, inbox)
	return b
}

// runBus starts a bus and waits until it is up. It is closed when the test ends.
func runBus(t testing.TB, b *Bus, inbox gateway.Inbox) {
	t.Helper()
	if err := b.Start(inbox); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBus(b) })
	waitFor(t, "the bus is up", func() bool { return b.Available() })
}

func dialBus(t testing.TB, url string) *Bus {
	t.Helper()
	b, err := Dial(ConnConfig{URL: url, Name: "test", Log: slog.New(slog.DiscardHandler)}, mustSubjects(t, "phx"), "g1")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func closeBus(b *Bus) {
	ctx, cancel := context.WithTimeout(context.Background(), phxtest.Patience())
	defer cancel()
	b.Close(ctx)
}

// subscribe subscribes a bus to topics and waits until all are in force.
func subscribe(t testing.TB, b *Bus, topics ...string) {
	t.Helper()
	confirmed := make(chan error, len(topics))
	for _, topic := range topics {
		b.Subscribe(topic, func(err error) { confirmed <- err })
	}
	for range topics {
		if err := within(t, "confirmation", confirmed); err != nil {
			t.Fatalf("subscribe: %v", err)
		}
	}
}

// backend is a plain NATS connection.
func backend(t testing.TB, url string) *natsgo.Conn {
	t.Helper()
	nc, err := natsgo.Connect(url, natsgo.Timeout(phxtest.Patience()), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// listen subscribes; the subscription is in force at the server.
func listen(t testing.TB, nc *natsgo.Conn, subject string) *natsgo.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.FlushTimeout(phxtest.Patience())
	}
	if err != nil {
		t.Fatalf("subscribe %s: %v", subject, err)
	}
	return sub
}

func publish(t testing.TB, nc *natsgo.Conn, subject, body string, headers ...string) {
	t.Helper()
	m := natsgo.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = []string{headers[i+1]}
	}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatalf("publish %s: %v", subject, err)
	}
}

func next(t testing.TB, sub *natsgo.Subscription) *natsgo.Msg {
	t.Helper()
	m, err := sub.NextMsg(phxtest.Patience())
	if err != nil {
		t.Fatalf("nothing on %s: %v", sub.Subject, err)
	}
	return m
}

// within takes a value from a Go chan, for the usual patience.
func within[T any](t testing.TB, what string, values <-chan T) T {
	t.Helper()
	deadline := time.NewTimer(4 * phxtest.Patience())
	defer deadline.Stop()
	select {
	case v := <-values:
		return v
	case <-deadline.C:
		t.Fatalf("waited in vain for: %s", what)
		panic("unreachable")
	}
}

// waitFor waits until cond holds.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(4 * phxtest.Patience())
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		<-poll.C
	}
}
