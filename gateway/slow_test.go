package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// newSlowLoop makes a loop with a rule's `slow` and room for about ten broadcasts of sayN in an outbox.
func newSlowLoop(t *testing.T, slow string, change func(*Config)) (*loop, *fakeBus) {
	t.Helper()
	return newTestLoop(t, func(cfg *Config) {
		set, err := rules.Parse("rules.yaml", []byte("channels:\n  - {topic: \"room:*\", join: allow, on_gap: notify, slow: "+slow+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Rules, cfg.OutboundBytes = set, 10*len(`xx[null,null,"room:a","e",{"n":10,"k":0}]`)
		if change != nil {
			change(cfg)
		}
	})
}

// sayN broadcasts n, of one of some keys, in a turn of its own.
func sayN(l *loop, n, keys int) {
	l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "e", Payload: fmt.Appendf(nil, `{"n":%d,"k":%d}`, n, n%keys)})
	turn(l)
}

// block makes a member's connection take nothing from now on; unblock makes it take all.
func block(ch *channel) { ch.socket.tr.(*fakeTransport).blocked = true }

func unblock(l *loop, ch *channel) {
	ch.socket.tr.(*fakeTransport).blocked = false
	l.flush(ch.socket)
}

func pushTo(l *loop, ch *channel, n int) {
	l.srv.Channel(&ChannelMessage{Channel: ch.id(), Event: "mine", Payload: fmt.Appendf(nil, `{"n":%d,"k":0}`, n)})
	turn(l)
}

func names(event string, from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprintf("%s%d", event, n))
	}
	return list
}

func TestSlowIsAborted(t *testing.T) {
	l, bus := newSlowLoop(t, "close", nil)
	quick, stuck := joinAs(t, l, bus, "room:a", `{}`), joinAs(t, l, bus, "room:a", `{}`)
	block(stuck)
	for n := range 20 {
		sayN(l, n, 1)
	}
	if tr := stuck.socket.tr.(*fakeTransport); !tr.aborted || l.stats.socketsEnded.n[causeSlow].load() != 1 {
		t.Error("a socket that does not read was not aborted")
	}
	wantHeard(t, "quick", quick, names("e", 0, 19)...)
	if l.held != 0 {
		t.Errorf("%d bytes are held, nothing waits", l.held)
	}
}

func TestSlowDropsOldest(t *testing.T) {
	l, bus := newSlowLoop(t, "drop_oldest", nil)
	quick, stuck := joinAs(t, l, bus, "room:a", `{}`), joinAs(t, l, bus, "room:a", `{}`)
	block(stuck)
	for n := range 20 {
		sayN(l, n, 1)
		if n == 3 {
			pushTo(l, stuck, n)
		}
		if n == 15 {
			l.srv.PushPresence(stuck.id(), "mine", []byte(`{"n":100,"k":0}`))
			l.srv.BroadcastPresence("room:a", "mine", []byte(`{"n":200,"k":0}`))
		}
	}
	unblock(l, stuck)
	wantHeard(t, "quick", quick, slices.Concat(names("e", 0, 15), []string{"mine200"}, names("e", 16, 19))...)
	got := heard(t, stuck)
	first := 20 - (len(got) - 3)
	want := slices.Concat([]string{"mine3"}, names("e", first, 15), []string{"mine100", "mine200"}, names("e", 16, 19))
	if strings.Join(got, " ") != strings.Join(want, " ") || first < 10 || first > 14 {
		t.Errorf("stuck heard %q, want the push, what presence said, and the last of the broadcasts", got)
	}
	if n := l.stats.dropped.n[droppedSlow].load(); int(n) != first {
		t.Errorf("%d are counted as dropped, want %d", n, first)
	}
	tickMail(l.now + 1 + ticks(gapNotice)).deliver(l)
	turn(l)
	wantHeard(t, "quick", quick)
	if got := received(t, stuck); len(got) != 1 || !strings.Contains(got[0], `"gap",{}`) {
		t.Errorf("stuck got %q, want to be told of the gap", got)
	}
	sayN(l, 20, 1)
	wantHeard(t, "stuck", stuck, "e20")
	if l.held != 0 {
		t.Errorf("%d bytes are held, nothing waits", l.held)
	}
}

// TestSlowPushesAreKept: where nothing that waits may be dropped, the socket is slow as any other.
func TestSlowPushesAreKept(t *testing.T) {
	l, bus := newSlowLoop(t, "drop_oldest", nil)
	stuck := joinAs(t, l, bus, "room:a", `{}`)
	block(stuck)
	for n := 0; n < 30 && stuck.socket.state == open; n++ {
		pushTo(l, stuck, n)
	}
	if !stuck.socket.tr.(*fakeTransport).aborted {
		t.Error("pushes were dropped, or wait without bound")
	}
}

func TestSlowConflates(t *testing.T) {
	for _, tc := range []struct{ slow, want string }{
		{"conflate", "e0 mine7 e99"}, // e0 stood in the socket's buffer before it was known to be slow
		{"{conflate: event}", "e0 mine7 e99"},
		{"{conflate: payload.k}", "e0 mine7 e97 e98 e99"},
		{"{conflate: payload.none}", "e0 mine7 e99"},
	} {
		l, bus := newSlowLoop(t, tc.slow, nil)
		quick, stuck := joinAs(t, l, bus, "room:a", `{}`), joinAs(t, l, bus, "room:a", `{}`)
		block(stuck)
		for n := range 100 {
			sayN(l, n, 3)
			if n == 7 {
				pushTo(l, stuck, n)
			}
		}
		unblock(l, stuck)
		wantHeard(t, tc.slow+": quick", quick, names("e", 0, 99)...)
		wantHeard(t, tc.slow+": stuck", stuck, strings.Fields(tc.want)...)
		dropped, conflated := l.stats.dropped.n[droppedSlow].load(), l.stats.dropped.n[droppedConflated].load()
		if total := 100 - (len(strings.Fields(tc.want)) - 1); int(conflated) != total || dropped != 0 {
			t.Errorf("%s: %d conflated and %d dropped are counted, want %d and 0", tc.slow, conflated, dropped, total)
		}
		if len(l.gaps) > 0 {
			t.Errorf("%s: what was conflated is told as a gap", tc.slow)
		}
	}
}

// TestSlowTotal: beyond OUTBOUND_BYTES_TOTAL the largest debtors go first; what many wait for counts once.
func TestSlowTotal(t *testing.T) {
	l, bus := newSlowLoop(t, "close", func(cfg *Config) { cfg.OutboundBytes, cfg.OutboundBytesTotal = 1<<20, 100_000 })
	var stuck []*channel
	for range 50 {
		stuck = append(stuck, join(t, l, bus, openSocket(l, &fakeTransport{}, phx.V2), "room:a"))
		block(stuck[len(stuck)-1])
	}
	payload := []byte(`{"x":"` + strings.Repeat("x", 30_000) + `"}`)
	shed := func() { turn(l); l.shedDebtors() }
	for range 3 {
		l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "e", Payload: payload})
		shed()
	}
	if n := l.stats.socketsEnded.n[causeOutboundTotal].load(); n != 0 {
		t.Fatalf("%d sockets were aborted while %d bytes waited, of 100,000", n, l.held)
	}
	for i, bytes := range []int{5000, 50_000, 20_000} {
		l.srv.Channel(&ChannelMessage{Channel: stuck[i].id(), Event: "e", Payload: []byte(`{"x":"` + strings.Repeat("x", bytes) + `"}`)})
		shed()
	}
	for i, ch := range stuck {
		if gone, want := ch.socket.state == gone, i == 1 || i == 2; gone != want {
			t.Errorf("socket %d: aborted %t, want %t", i, gone, want)
		}
	}
	if said := l.srv.outboundBytes.Load(); said != int64(l.held) || l.held > 100_000 || l.held < 90_000 {
		t.Errorf("%d bytes are held, and %d said", l.held, said)
	}
	for _, ch := range stuck {
		l.abort(ch.socket, causeClient)
	}
	if l.shedDebtors(); l.held != 0 || l.srv.outboundBytes.Load() != 0 {
		t.Errorf("%d bytes are held, %d said, and no socket is left", l.held, l.srv.outboundBytes.Load())
	}
}
