package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// members joins n sockets to a topic; every third speaks V1 if mixed.
func members(t testing.TB, l *loop, bus *fakeBus, topic string, n int, mixed bool, transport func() transport) []*channel {
	var all []*channel
	for i := range n {
		s := phx.V2
		if mixed && i%3 == 2 {
			s = phx.V1
		}
		all = append(all, join(t, l, bus, openSocket(l, transport(), s), topic))
	}
	return all
}

func keeping() transport { return &fakeTransport{keep: true} }

// received is what a member got since the last call, as texts; bytes are "hex:".
func received(t *testing.T, ch *channel) (texts []string) {
	t.Helper()
	tr := ch.socket.tr.(*fakeTransport)
	for _, f := range readFrames(t, tr.written) {
		if f.Header.OpCode == ws.OpBinary {
			texts = append(texts, fmt.Sprintf("hex:%x", f.Payload))
		} else {
			texts = append(texts, string(f.Payload))
		}
	}
	tr.written = nil
	return texts
}

func wantReceived(t *testing.T, ch *channel, want ...string) {
	t.Helper()
	got := received(t, ch)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("member %d: got\n%s\nwant\n%s", ch.member, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFanOut(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	all := members(t, l, bus, "room:a", 6, true, keeping)
	other := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:b")
	for _, ch := range append(all, other) {
		received(t, ch) // the join reply
	}
	srv := l.srv
	srv.Broadcast(&Broadcast{Topic: "room:a", Event: "one", Payload: []byte(`{"n":1}`)})
	srv.Broadcast(&Broadcast{Topic: "room:a", Event: "two", Payload: []byte(`{"n":2}`), From: all[1].id()})
	srv.Broadcast(&Broadcast{Topic: "room:a", Event: "raw", Payload: []byte{0, 255}, Binary: true})
	srv.Broadcast(&Broadcast{Topic: "room:a", Event: "four", Payload: []byte(`{}`), From: "g2.a.b"}) // another gateway's
	srv.Broadcast(&Broadcast{Topic: "room:a", Event: "five", Payload: []byte(`{}`), From: all[2].id()})
	srv.Broadcast(&Broadcast{Topic: "room:c", Event: "nobody", Payload: []byte(`{}`)})
	turn(l)
	v1 := func(event, payload string) string {
		return `{"topic":"room:a","event":"` + event + `","payload":` + payload + `,"ref":null}`
	}
	v2 := func(event, payload string) string { return `[null,null,"room:a","` + event + `",` + payload + `]` }
	raw := fmt.Sprintf("hex:0206%02x%x00ff", len("raw"), "room:araw")
	for i, ch := range all {
		var want []string
		add := func(but int, form func(string, string) string, event, payload string) {
			if i != but {
				want = append(want, form(event, payload))
			}
		}
		form := v2
		if ch.socket.serializer == phx.V1 {
			form = v1
		}
		add(-1, form, "one", `{"n":1}`)
		add(1, form, "two", `{"n":2}`)
		if ch.socket.serializer == phx.V2 {
			want = append(want, raw)
		}
		add(-1, form, "four", `{}`)
		add(2, form, "five", `{}`)
		wantReceived(t, ch, want...)
	}
	wantReceived(t, other)
}

// TestFanOutSkipsWhoLeftOrJoinedLater: what the bus brought before a join is not for the new member, and what it brought before a leave is for the old one.
func TestFanOutSkipsWhoLeftOrJoinedLater(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	a := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:a")
	b := openSocket(l, keeping(), phx.V2)
	received(t, a)
	l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "before", Payload: []byte(`{}`)})
	for _, m := range l.mailbox.take(nil) {
		m.deliver(l) // within the turn: not fanned out yet
	}
	l.feed(b, clientText(`["1","1","room:a","phx_join",{}]`))
	l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "after", Payload: []byte(`{}`)})
	turn(l)
	wantReceived(t, a, `[null,null,"room:a","before",{}]`, `[null,null,"room:a","after",{}]`)
	wantReceived(t, b.channels[0], `["1","1","room:a","phx_reply",{"status":"ok","response":{}}]`, `[null,null,"room:a","after",{}]`)

	// A push to one channel keeps its place among the broadcasts.
	l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "x", Payload: []byte(`{}`)})
	l.srv.Channel(&ChannelMessage{Channel: a.id(), Event: "mine", Payload: []byte(`{}`)})
	l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "y", Payload: []byte(`{}`)})
	l.srv.Channel(&ChannelMessage{Channel: a.id(), Action: ActionClose})
	l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "z", Payload: []byte(`{}`)})
	turn(l)
	wantReceived(t, a, `[null,null,"room:a","x",{}]`, `["1",null,"room:a","mine",{}]`, `[null,null,"room:a","y",{}]`, `["1","1","room:a","phx_close",{}]`)
	wantReceived(t, b.channels[0], `[null,null,"room:a","x",{}]`, `[null,null,"room:a","y",{}]`, `[null,null,"room:a","z",{}]`)
}

// TestFanOutAbortsSlowMembers: those that do not read are aborted in the middle of a fan-out, and nobody else misses or repeats anything.
func TestFanOutAbortsSlowMembers(t *testing.T) {
	l, bus := newTestLoop(t, func(cfg *Config) { cfg.OutboundBytes = 10_000 })
	all := members(t, l, bus, "room:a", 20, false, keeping)
	for i, ch := range all {
		received(t, ch)
		ch.socket.tr.(*fakeTransport).blocked = i%3 == 0 || i == 19
	}
	payload := []byte(`{"x":"` + strings.Repeat("y", 3000) + `"}`)
	frame := `[null,null,"room:a","e",` + string(payload) + `]`
	for range 5 {
		l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "e", Payload: payload})
		turn(l)
	}
	for i, ch := range all {
		if tr := ch.socket.tr.(*fakeTransport); tr.blocked {
			if ch.socket.state != gone || !tr.closed || !tr.aborted {
				t.Errorf("slow member %d: state %d, closed %v, aborted %v", i, ch.socket.state, tr.closed, tr.aborted)
			}
			continue
		}
		wantReceived(t, ch, frame, frame, frame, frame, frame)
	}
	topic := all[1].topic
	if len(topic.members) != 12 || l.srv.stats.socketsEnded.n[causeSlow].load() != 8 || len(bus.left) != 8 {
		t.Errorf("%d members are left, %d slow sockets, %d phx.left", len(topic.members), l.srv.stats.socketsEnded.n[causeSlow].load(), len(bus.left))
	}
	for i, ch := range topic.members {
		if int(ch.member) != i {
			t.Errorf("member %d believes to be %d", i, ch.member)
		}
	}
}

// TestSlowSocketHoldsNoMoreThanItsBound counts what waits for a socket that does not read, however many broadcasts one turn brings.
func TestSlowSocketHoldsNoMoreThanItsBound(t *testing.T) {
	l, bus := newTestLoop(t, func(cfg *Config) { cfg.OutboundBytes = 10_000 })
	ch := join(t, l, bus, openSocket(l, &fakeTransport{}, phx.V2), "room:a")
	ch.socket.tr.(*fakeTransport).blocked = true
	for range 100 {
		l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "e", Payload: []byte(`{"x":"` + strings.Repeat("y", 1000) + `"}`)})
	}
	turn(l)
	if s := ch.socket; s.state == open && s.out.bytes > 10_000 {
		t.Errorf("%d bytes of many messages wait for one socket, OUTBOUND_BYTES is 10,000", s.out.bytes)
	}
}

// TestFanOutAllocations pins the cost of a delivery at no allocation: what a broadcast allocates does not grow with the members.
func TestFanOutAllocations(t *testing.T) {
	for _, window := range []int{1, 32} {
		perTurn := func(n int) float64 {
			l, bus := newTestLoop(t, nil)
			members(t, l, bus, "room:a", n, false, discarding())
			b := &Broadcast{Topic: "room:a", Event: "e", Payload: []byte(`{"body":"hello"}`)}
			return testing.AllocsPerRun(50, func() {
				for range window {
					l.srv.Broadcast(b)
				}
				turn(l)
			})
		}
		few, many := perTurn(10), perTurn(1000)
		if many > few {
			t.Errorf("%d broadcasts a turn: %v allocations with 10 members, %v with 1,000", window, few, many)
		}
		if limit := float64(6*window + 4); few > limit {
			t.Errorf("%d broadcasts a turn: %v allocations, want at most %v", window, few, limit)
		}
	}
}

// discarding makes one transport for all: what is written is not kept.
func discarding() func() transport {
	tr := &fakeTransport{}
	return func() transport { return tr }
}
