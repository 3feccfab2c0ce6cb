package gateway

import (
	"errors"
	"testing"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

var errNotTracked = errors.New("not tracked")

// TestPresenceUpdate: what is handed over, and what the client is told.
func TestPresenceUpdate(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	ch := joinRoom(t, l, bus, p)
	for _, tc := range []struct {
		event string
		err   error
		told  string // "": nothing
	}{
		{"status", nil, ""},
		{"status", errNotTracked, errorReply("2", "room:a", "not tracked")},
		{"status", errors.New("invalid meta"), errorReply("2", "room:a", "invalid meta")},
		{"loud", nil, okReply("2", "room:a")},
		{"loud", errNotTracked, errorReply("2", "room:a", "not tracked")},
	} {
		ch.send(l, "2", tc.event, `{"status":"away", "n":1}`)
		fields := "[status typing]"
		if tc.event == "loud" {
			fields = "[status]"
		}
		p.want(t, "update "+ch.id()+" "+fields+` {"status":"away", "n":1}`)
		wantReceived(t, ch) // not before it was accepted
		p.answer(l, tc.err)
		if tc.told == "" {
			wantReceived(t, ch)
		} else {
			wantReceived(t, ch, tc.told)
		}
	}
	if got := l.stats.events.n[rules.PresenceUpdate].load(); got != 2 {
		t.Errorf("%d updates are counted, want 2", got)
	}
	if got := l.stats.events.n[eventRefused].load(); got != 3 {
		t.Errorf("%d events are counted as refused, want 3", got)
	}
}

// TestPresenceUpdateRefused: what never reaches presence.
func TestPresenceUpdateRefused(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	ch := joinRoom(t, l, bus, p)
	for _, payload := range []string{`[]`, `null`, `1`, `"text"`} {
		ch.send(l, "2", "status", payload)
		wantReceived(t, ch, errorReply("2", "room:a", "invalid payload"))
	}
	// A binary push: kind 0, the lengths of join_ref, ref, topic and event, then those and the payload.
	l.feed(ch.socket, clientFrame(ws.OpBinary, true, []byte("\x00\x01\x01\x06\x06"+"1"+"2"+"room:a"+"status"+"{}")))
	turn(l)
	wantReceived(t, ch, errorReply("2", "room:a", "invalid payload"))
	bus.away = true
	ch.send(l, "2", "loud", `{"status":"x"}`)
	wantReceived(t, ch, errorReply("2", "room:a", "unavailable"))
	bus.away = false

	ch.extra().events = map[string]struct{}{"loud": {}}
	ch.send(l, "2", "status", `{"status":"x"}`)
	wantReceived(t, ch, errorReply("2", "room:a", "unauthorized"))
	p.want(t)
	ch.send(l, "2", "loud", `{"status":"x"}`)
	p.want(t, "update "+ch.id()+` [status] {"status":"x"}`)
	p.answer(l, nil)

	limited := joinWith(l, bus, openSocket(l, keeping(), phx.V2), "limited:a", `{}`)
	received(t, limited)
	p.lines = nil
	limited.send(l, "2", "status", `{"status":"longer than it may be"}`)
	limited.send(l, "3", "status", `{}`)
	limited.send(l, "4", "status", `{}`)
	wantReceived(t, limited, errorReply("2", "limited:a", "payload too large"), errorReply("4", "limited:a", "rate limited")) // the limits hold at arrival
	p.want(t, "update "+limited.id()+" [status] {}")
}

// TestPresenceUpdateOfWhoTakesNoPart: presence says so, since a backend may have tracked the channel.
func TestPresenceUpdateOfWhoTakesNoPart(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	ch := joinWith(l, bus, openSocket(l, keeping(), phx.V2), "plain:a", `{}`)
	p.lines = nil
	ch.send(l, "2", "status", `{"status":"x"}`)
	p.want(t, "update "+ch.id()+` [status] {"status":"x"}`)
}

// TestPresenceUpdateKeepsTheOrder: events and leaves behind an update wait until it was answered, so that replies come in the order of the events and none is lost.
func TestPresenceUpdateKeepsTheOrder(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	ch := joinRoom(t, l, bus, p)
	id := ch.id()
	ch.send(l, "2", "loud", `{"status":1}`)
	ch.send(l, "3", "say", `{}`)
	ch.send(l, "4", "loud", `{"status":2}`)
	ch.send(l, "5", "status", `{"status":3}`)
	ch.send(l, "6", "phx_leave", `{}`)
	p.want(t, "update "+id+` [status] {"status":1}`)
	if bus.broadcasts != 0 {
		t.Error("an event overtook the update before it")
	}
	p.answer(l, nil)
	p.answer(l, errNotTracked)
	p.answer(l, errNotTracked)
	p.want(t, "update "+id+` [status] {"status":2}`, "update "+id+` [status typing] {"status":3}`, "leave "+id+", lingers: false")
	wantReceived(t, ch, okReply("2", "room:a"), okReply("3", "room:a"), errorReply("4", "room:a", "not tracked"), errorReply("5", "room:a", "not tracked"),
		okReply("6", "room:a"), `["1","1","room:a","phx_close",{}]`)
	if bus.broadcasts != 1 {
		t.Errorf("%d broadcasts", bus.broadcasts)
	}
}

// TestPresenceUpdateBehindACall: it takes its turn as any event.
func TestPresenceUpdateBehindACall(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	ch := joinRoom(t, l, bus, p)
	ch.send(l, "2", "ask", `{}`)
	ch.send(l, "3", "loud", `{"status":1}`)
	p.want(t)
	bus.calls[0](&Answer{Payload: emptyObject}, nil)
	turn(l)
	p.want(t, "update "+ch.id()+` [status] {"status":1}`)
	p.answer(l, nil)
	wantReceived(t, ch, okReply("2", "room:a"), okReply("3", "room:a"))
}

// TestPresenceUpdateOutlivesItsChannel: an answer that finds its channel gone is dropped; one that finds only the socket gone lets the events behind it go on.
func TestPresenceUpdateOutlivesItsChannel(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	ch := joinRoom(t, l, bus, p)
	ch.send(l, "2", "loud", `{"status":1}`)
	l.srv.Channel(&ChannelMessage{Channel: ch.id(), Action: ActionClose})
	turn(l)
	received(t, ch)
	p.answer(l, nil)
	wantReceived(t, ch)

	ch = joinRoom(t, l, bus, p)
	ch.send(l, "2", "loud", `{"status":1}`)
	ch.send(l, "3", "say", `{}`)
	l.peerGone(ch.socket)
	if ch.state != draining || bus.broadcasts != 0 {
		t.Fatalf("state %d, %d broadcasts", ch.state, bus.broadcasts)
	}
	p.answer(l, nil)
	if ch.state != ended || bus.broadcasts != 1 || len(l.draining) != 0 {
		t.Errorf("state %d, %d broadcasts, %d drain", ch.state, bus.broadcasts, len(l.draining))
	}
}
