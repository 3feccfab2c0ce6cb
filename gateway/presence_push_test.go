package gateway

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
)

// TestPushPresence: a push has the channel's join_ref, goes to that channel alone, and keeps its place among the diffs.
func TestPushPresence(t *testing.T) {
	l, bus, _ := newPresenceLoop(t, nil)
	all := members(t, l, bus, "room:a", 3, true, keeping)
	for _, ch := range all {
		received(t, ch)
	}
	srv, id := l.srv, all[0].id()
	state := []byte(`{"ann":{"metas":[{"phx_ref":"1"}]}}`)
	srv.BroadcastPresence("room:a", "presence_diff", []byte(`{"joins":{},"leaves":{"n":1}}`))
	srv.PushPresence(id, "presence_state", state)
	srv.BroadcastPresence("room:a", "presence_diff", []byte(`{"joins":{},"leaves":{"n":2}}`))
	srv.PushPresence(all[2].id(), "presence_state", state)
	for _, nobody := range []string{"", "g2" + id[2:], id + "0", "g1.zzzzzzzz.1"} {
		srv.PushPresence(nobody, "presence_state", state)
	}
	turn(l)
	diff := func(n int) string {
		return fmt.Sprintf(`[null,null,"room:a","presence_diff",{"joins":{},"leaves":{"n":%d}}]`, n)
	}
	wantReceived(t, all[0], diff(1), `["1",null,"room:a","presence_state",{"ann":{"metas":[{"phx_ref":"1"}]}}]`, diff(2))
	wantReceived(t, all[1], diff(1), diff(2))
	v1 := func(n int) string {
		return fmt.Sprintf(`{"topic":"room:a","event":"presence_diff","payload":{"joins":{},"leaves":{"n":%d}},"ref":null}`, n)
	}
	wantReceived(t, all[2], v1(1), v1(2), `{"topic":"room:a","event":"presence_state","payload":{"ann":{"metas":[{"phx_ref":"1"}]}},"ref":null}`)
	if string(state) != `{"ann":{"metas":[{"phx_ref":"1"}]}}` {
		t.Errorf("the shared payload was changed: %s", state)
	}

	l.srv.PushPresence(id, "presence_state", state) // on its way while the channel ends
	l.endChannel(all[0], leftLeft)
	turn(l)
	wantReceived(t, all[0])
}

// TestPushPresenceEndsTurns: states that are pushed to many make a turn end, so that other sockets are read and written in between.
func TestPushPresenceEndsTurns(t *testing.T) {
	l, bus, _ := newPresenceLoop(t, nil)
	ch := join(t, l, bus, openSocket(l, &fakeTransport{}, phx.V2), "room:a")
	state := largeState(turnWork/4 + 1)
	for range 4 {
		if l.work > turnWork {
			t.Fatal("the turn would end too early")
		}
		l.srv.PushPresence(ch.id(), "presence_state", state)
		turn(l)
	}
	if l.work <= turnWork {
		t.Errorf("%d bytes of work are counted, want more than %d", l.work, turnWork)
	}
}

// largeState is a presence_state of n bytes.
func largeState(n int) []byte {
	const around = `{"k":{"metas":[{"phx_ref":""}]}}`
	return []byte(strings.Replace(around, `""`, `"`+strings.Repeat("x", n-len(around))+`"`, 1))
}

// TestPushPresenceCopiesOnce: a state goes into its frame without being copied a second time, whatever the join_ref.
func TestPushPresenceCopiesOnce(t *testing.T) {
	l, bus, _ := newPresenceLoop(t, nil)
	const size = 1 << 20
	state := largeState(size)
	for _, ref := range []string{"1", strings.Repeat("r", maxRef-2)} {
		s := openSocket(l, &fakeTransport{}, phx.V2)
		l.feed(s, clientText(`["`+ref+`","1","room:a","phx_join",{}]`))
		settle(l, bus)
		id := s.channelOf("room:a").id()
		const pushes = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range pushes {
			l.srv.PushPresence(id, "presence_state", state)
			turn(l)
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / pushes; got > size+size/8 {
			t.Errorf("join_ref of %d bytes: %d bytes are allocated for a state of %d", len(ref), got, size)
		}
	}
}

// TestPushPresenceLargerThanTheOutbox: a state larger than OUTBOUND_BYTES goes if nothing else waits; behind what the kernel does not take, the client is slow.
func TestPushPresenceLargerThanTheOutbox(t *testing.T) {
	small := func(cfg *Config) { cfg.OutboundBytes = 10_000 }
	state := largeState(50_000)
	want := `["1",null,"room:a","presence_state",` + string(state) + `]`

	t.Run("behind a join reply that can be written", func(t *testing.T) {
		l, bus, p := newPresenceLoop(t, small)
		joinRoom(t, l, bus, p) // the next join is confirmed at once, in the turn that pushes the state
		s := openSocket(l, keeping(), phx.V2)
		p.onJoin = func() {
			if s.out == nil || s.out.bytes == 0 {
				t.Error("the reply does not wait")
			}
			l.srv.PushPresence(s.channelOf("room:a").id(), "presence_state", state)
		}
		ch := join(t, l, bus, s, "room:a")
		wantReceived(t, ch, okReply("1", "room:a"), want)
	})
	t.Run("nothing waits, the socket takes nothing now", func(t *testing.T) {
		l, bus, p := newPresenceLoop(t, small)
		ch := joinRoom(t, l, bus, p)
		tr := ch.socket.tr.(*fakeTransport)
		tr.blocked = true
		l.srv.PushPresence(ch.id(), "presence_state", state)
		turn(l)
		if ch.socket.state != open {
			t.Fatal("closed")
		}
		tr.blocked = false
		l.flush(ch.socket)
		wantReceived(t, ch, want)
	})
	t.Run("something waits that cannot be written", func(t *testing.T) {
		l, bus, p := newPresenceLoop(t, small)
		ch := joinRoom(t, l, bus, p)
		tr := ch.socket.tr.(*fakeTransport)
		tr.blocked = true
		l.srv.PushPresence(ch.id(), "presence_state", largeState(100))
		l.srv.PushPresence(ch.id(), "presence_state", state)
		turn(l)
		if ch.socket.state != gone || !tr.aborted {
			t.Errorf("state %d, aborted %t: want a slow socket aborted", ch.socket.state, tr.aborted)
		}
	})
}
