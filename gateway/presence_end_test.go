package gateway

import (
	"slices"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// TestPresenceLeaves: presence is told once of each end, and that it lingers where the gateway ended the channel for no fault of its user.
func TestPresenceLeaves(t *testing.T) {
	for _, tc := range []struct {
		reason  string
		lingers bool
		end     func(l *loop, b *fakeBus, ch *channel)
	}{
		{"left", false, func(l *loop, _ *fakeBus, ch *channel) { ch.send(l, "2", "phx_leave", `{}`) }},
		{"rejoined", false, func(l *loop, b *fakeBus, ch *channel) {
			b.away = true // so that no join follows
			ch.send(l, "2", "phx_join", `{}`)
		}},
		{"closed", false, func(l *loop, _ *fakeBus, ch *channel) {
			l.srv.Channel(&ChannelMessage{Channel: ch.id(), Action: ActionClose})
			turn(l)
		}},
		{"crashed", false, func(l *loop, _ *fakeBus, ch *channel) {
			l.srv.Channel(&ChannelMessage{Channel: ch.id(), Action: ActionCrash})
			turn(l)
		}},
		{"kicked", false, func(l *loop, _ *fakeBus, ch *channel) {
			l.srv.Socket(&SocketMessage{ID: ch.socket.id, Action: ActionLeave, Topic: ch.topic.name})
			turn(l)
		}},
		{"disconnected", false, func(l *loop, _ *fakeBus, ch *channel) {
			l.srv.Socket(&SocketMessage{ID: ch.socket.id, Action: ActionDisconnect})
			turn(l)
		}},
		{"disconnected", false, func(l *loop, _ *fakeBus, ch *channel) { l.peerGone(ch.socket) }},
		{"disconnected", false, func(l *loop, _ *fakeBus, ch *channel) { l.abort(ch.socket, causeSlow) }},
		{"gap", true, func(l *loop, _ *fakeBus, ch *channel) {
			l.srv.Gap(nil)
			turn(l)
			l.now = l.after(l.srv.cfg.GapSpread) + 1
			l.tickGaps()
		}},
		{"expired", true, func(l *loop, _ *fakeBus, ch *channel) { // the channel
			ch.extra().expires = l.after(time.Second)
			l.deadlineBy(ch.socket, ch.more.expires)
			l.now = l.after(time.Second)
			l.checkTime(ch.socket)
		}},
		{"expired", true, func(l *loop, _ *fakeBus, ch *channel) { // the socket
			ch.socket.expires = l.after(time.Second)
			l.deadlineBy(ch.socket, ch.socket.expires)
			l.now = l.after(time.Second)
			l.checkTime(ch.socket)
		}},
		{"drained", true, func(l *loop, _ *fakeBus, _ *channel) { l.closeAll() }},
	} {
		l, bus, p := newPresenceLoop(t, nil)
		s := openSocket(l, keeping(), phx.V2)
		l.setID(s, "user_socket:7")
		ch := join(t, l, bus, s, "room:a")
		plain := join(t, l, bus, openSocket(l, keeping(), phx.V2), "plain:a")
		p.lines = nil
		id := ch.id()
		tc.end(l, bus, ch)
		turn(l)
		if ch.state != ended || len(bus.left) == 0 || bus.left[0] != tc.reason {
			t.Errorf("%s: state %d, phx.left %v", tc.reason, ch.state, bus.left)
		}
		if tc.lingers {
			p.want(t, "leave "+id+", lingers: true")
		} else {
			p.want(t, "leave "+id+", lingers: false")
		}
		if plain.state != ended {
			l.closeSocket(plain.socket, causeDrain)
			p.want(t) // it never took part
		}
	}
}

// TestLingerIsOver: presence is told when a user whose channel was ended by a gap will not be back, or is back and cannot be known.
func TestLingerIsOver(t *testing.T) {
	for name, tc := range map[string]struct {
		id   string
		over bool
		then func(l *loop, b *fakeBus, s *socket)
	}{
		"its leave was under way": {"u:7", true, func(l *loop, _ *fakeBus, s *socket) {
			l.feed(s, clientText(`["1","2","room:a","phx_leave",{}]`))
		}},
		"a leave of another topic": {"u:7", false, func(l *loop, _ *fakeBus, s *socket) {
			l.feed(s, clientText(`["1","2","room:b","phx_leave",{}]`))
		}},
		"its socket ends":               {"u:7", true, func(l *loop, _ *fakeBus, s *socket) { l.peerGone(s) }},
		"its socket is closed":          {"u:7", true, func(l *loop, _ *fakeBus, s *socket) { l.closeSocket(s, causeIdle) }},
		"the gateway drains":            {"u:7", false, func(l *loop, _ *fakeBus, s *socket) { l.closeSocket(s, causeDrain) }},
		"it is back":                    {"u:7", false, func(l *loop, b *fakeBus, s *socket) { joinWith(l, b, s, "room:a", `{}`) }},
		"it is back, and was anonymous": {"", true, func(l *loop, b *fakeBus, s *socket) { joinWith(l, b, s, "room:a", `{}`) }},
		"it may not come back": {"u:7", true, func(l *loop, b *fakeBus, s *socket) {
			l.feed(s, clientText(`["2","2","room:a","phx_join",{}]`))
			l.joinDecided(s.channelOf("room:a"), &JoinDecision{Response: emptyObject}, nil)
		}},
		"it comes back while NATS is away": {"u:7", false, func(l *loop, b *fakeBus, s *socket) {
			b.away = true
			l.feed(s, clientText(`["2","2","room:a","phx_join",{}]`))
		}},
	} {
		l, bus, p := newPresenceLoop(t, nil)
		s := openSocket(l, keeping(), phx.V2)
		if tc.id != "" {
			l.setID(s, tc.id)
		}
		id := join(t, l, bus, s, "room:a").id()
		l.srv.Gap(nil)
		turn(l)
		l.now = l.after(l.srv.cfg.GapSpread) + 1
		l.tickGaps()
		p.lines = nil
		tc.then(l, bus, s)
		turn(l)
		if got := slices.Contains(p.lines, "leave "+id+", lingers: false"); got != tc.over {
			t.Errorf("%s: over %t, want %t: %q", name, got, tc.over, p.lines)
		}
		l.peerGone(s)
		if len(l.lingering) != 0 {
			t.Errorf("%s: %v is kept", name, l.lingering)
		}
	}
}

// TestPresenceLeavesBeforeWhatWaits: a channel whose socket ended, and whose events are still handed over, is no longer there for others.
func TestPresenceLeavesBeforeWhatWaits(t *testing.T) {
	for c, told := range map[cause]string{causeClient: "lingers: false", causeDrain: "lingers: true"} {
		l, bus, p := newPresenceLoop(t, nil)
		ch := joinRoom(t, l, bus, p)
		id := ch.id()
		ch.send(l, "2", "ask", `{}`)
		ch.send(l, "3", "status", `{"status":"x"}`)
		l.closeSocket(ch.socket, c)
		if ch.state != draining {
			t.Fatalf("%v: state %d", c, ch.state)
		}
		p.want(t, "leave "+id+", "+told)
		bus.calls[0](&Answer{}, nil)
		turn(l)
		if ch.state != ended || len(bus.left) != 1 {
			t.Errorf("%v: state %d, phx.left %v", c, ch.state, bus.left)
		}
		p.want(t) // neither the update nor a second leave
	}
}

// TestFindChannel: presence is told the end of a channel that was found, though it never took part.
func TestFindChannel(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	s := openSocket(l, keeping(), phx.V2)
	l.setID(s, "user_socket:7")
	s.assigns = []byte(`{"a":1}`)
	ch := join(t, l, bus, s, "plain:a")
	find := func(id string) (told string) {
		t.Helper()
		times := 0
		l.srv.FindChannel(id, func(topic, socketID string, assigns []byte, ok bool) {
			times++
			if ok {
				told = topic + " " + socketID + " " + string(assigns)
			}
		})
		turn(l)
		if times != 1 {
			t.Errorf("%s: found was called %d times", id, times)
		}
		return told
	}
	id := ch.id()
	for _, other := range []string{"", "g1", "g2" + id[2:], id + "0", id + ".1", "g1.zzzzzzzz.1"} {
		if got := find(other); got != "" {
			t.Errorf("%q: found %s", other, got)
		}
	}
	if got, want := find(id), `plain:a user_socket:7 {"a":1}`; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	find(id)
	p.want(t)
	ch.send(l, "2", "phx_leave", `{}`)
	p.want(t, "leave "+id+", lingers: false")
	if got := find(id); got != "" {
		t.Errorf("a channel that has ended: found %s", got)
	}
}

// TestFindChannelThatIsJoining: before its join reply nobody can know its id but the authz service, and it has no assigns yet.
func TestFindChannelThatIsJoining(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	s := openSocket(l, keeping(), phx.V2)
	l.feed(s, clientText(`["1","1","plain:a","phx_join",{}]`))
	ch := s.channelOf("plain:a")
	l.srv.FindChannel(ch.id(), func(_, _ string, _ []byte, ok bool) {
		if ok {
			t.Error("found")
		}
	})
	settle(l, bus)
	ch.send(l, "2", "phx_leave", `{}`)
	p.want(t)
}
