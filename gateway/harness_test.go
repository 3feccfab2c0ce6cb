package gateway

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// testRules are the rules of a loop that was given none.
const testRules = `
channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: say, do: broadcast}
      - {event: ask, do: call}
      - {event: "*", do: cast}
`

// fakeBus notes what it was asked. Subscriptions, and whether they still are in force, are confirmed when the test says so, since a bus never calls back from within a call.
type fakeBus struct {
	t          testing.TB
	subscribed map[string]bool // by topic: subscribed and not unsubscribed
	pending    []pendingSubscription
	broadcasts int
	casts      int
	calls      []func(*Answer, error)
	left       []string // reasons
	joined     int
	dropped    []Dropped
	away       bool // there is no connection
}

type pendingSubscription struct {
	topic string
	done  func(error)
}

func (b *fakeBus) Subscribe(topic string, done func(error)) {
	b.subscribed[topic] = true
	b.pending = append(b.pending, pendingSubscription{topic, done})
}

func (b *fakeBus) Unsubscribe(topic string) {
	if !b.subscribed[topic] {
		b.t.Errorf("%q is unsubscribed without a subscription", topic)
	}
	delete(b.subscribed, topic)
}

func (b *fakeBus) Broadcast(*Event) error { b.broadcasts++; return nil }
func (b *fakeBus) Cast(*Event) error      { b.casts++; return nil }

func (b *fakeBus) Call(_ *Event, _ time.Duration, done func(*Answer, error)) error {
	b.calls = append(b.calls, done)
	return nil
}

func (b *fakeBus) Dropped(d Dropped)   { b.dropped = append(b.dropped, d) }
func (b *fakeBus) Joined(*Event) error { b.joined++; return nil }

func (b *fakeBus) Left(_ *Event, reason string) error {
	b.left = append(b.left, reason)
	return nil
}

// confirm answers the oldest subscription that waits.
func (b *fakeBus) confirm(err error) {
	p := b.pending[0]
	b.pending = b.pending[1:]
	p.done(err)
}

// fakeAuthorizer is never asked: the rules allow.
type fakeAuthorizer struct{ Authorizer }

// fakeTransport takes what is written, or nothing while blocked.
type fakeTransport struct {
	keep    bool // written holds what was
	blocked bool
	written []byte
	shut    bool // the sending side was closed
	closed  bool
	aborted bool
}

func (f *fakeTransport) write(s *socket, o *outbox) (bool, error) {
	for !f.blocked && !o.empty() {
		b := o.next(s.loop.gather)
		if f.keep {
			f.written = append(f.written, b...)
		}
		o.written(len(b))
	}
	s.watchesWrite = !o.empty()
	return s.watchesWrite, nil
}

func (f *fakeTransport) closeWrite(*socket)             { f.shut = true }
func (f *fakeTransport) close(_ *socket, abort bool)    { f.closed, f.aborted = true, abort }
func (f *fakeTransport) frames(t *testing.T) []ws.Frame { return readFrames(t, f.written) }

// newTestLoop makes a server with one loop that the test runs by hand.
func newTestLoop(t testing.TB, change func(*Config)) (*loop, *fakeBus) {
	t.Helper()
	set, err := rules.Parse("rules.yaml", []byte(testRules))
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.ID, cfg.Rules, cfg.Loops = "g1", set, 1
	if change != nil {
		change(&cfg)
	}
	bus := &fakeBus{t: t, subscribed: map[string]bool{}}
	srv, err := New(cfg, bus, fakeAuthorizer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, l := range srv.loops {
			l.poller.close()
		}
	})
	return srv.loops[0], bus
}

// openSocket makes an open socket over a transport.
func openSocket(l *loop, tr transport, s phx.Serializer) *socket {
	l.srv.open.Add(1)
	sock := l.adopt(tr, -1, netip.MustParseAddr("127.0.0.1"))
	sock.state, sock.serializer, sock.deadline = open, s, 0
	return sock
}

// turn is what a loop does between two waits.
func turn(l *loop) {
	got := l.mailbox.take(l.spare)
	for i, m := range got {
		got[i] = nil
		m.deliver(l)
	}
	l.spare = got
	l.askAuthorizer()
	l.flushTopics()
	l.flushSockets()
	for !l.flushHeavy() {
	}
}

// settle confirms every subscription and runs the loop until nothing is left to do.
func settle(l *loop, b *fakeBus) {
	turn(l)
	for len(b.pending) > 0 {
		b.confirm(nil)
		turn(l)
	}
}

// join joins a V2 or V1 socket to a topic that its rule allows.
func join(t testing.TB, l *loop, b *fakeBus, s *socket, topic string) *channel {
	t.Helper()
	text := `["1","1","` + topic + `","phx_join",{}]`
	if s.serializer == phx.V1 {
		text = `{"topic":"` + topic + `","event":"phx_join","payload":{},"ref":"1"}`
	}
	l.feed(s, clientText(text))
	settle(l, b)
	ch := s.channelOf(topic)
	if ch == nil || ch.state != joined {
		t.Fatalf("%s is not joined", topic)
	}
	return ch
}

// clientFrame is one masked frame.
func clientFrame(op ws.OpCode, fin bool, payload []byte) []byte {
	f := ws.MaskFrameWith(ws.NewFrame(op, fin, append([]byte(nil), payload...)), [4]byte{1, 2, 3, 4})
	return ws.MustCompileFrame(f)
}

func clientText(text string) []byte { return clientFrame(ws.OpText, true, []byte(text)) }

// heartbeat is a heartbeat of a V2 client and what it is answered.
func heartbeat(ref string) (frame []byte, reply string) {
	return clientText(`[null,"` + ref + `","phoenix","heartbeat",{}]`),
		`[null,"` + ref + `","phoenix","phx_reply",{"status":"ok","response":{}}]`
}

// Available implements [Bus].
func (b *fakeBus) Available() bool { return !b.away }
