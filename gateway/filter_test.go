package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// blockedRule withholds from each member what those write whom it has blocked, and shows only staff where things come from.
const blockedRule = `channels:
  - topic: "room:*"
    join: allow
    on_gap: notify
    events: [{event: "ask", do: call}]
    deliver: 'payload.user in assigns.blocked ? false : assigns.?staff.orValue(false) ? {"n": payload.n, "x": payload.x, "ip": payload.ip} : payload'
  - {topic: "plain:*", join: allow}
`

// newFilterLoop makes a loop under a rule, whose filter decides when the test says so.
func newFilterLoop(t testing.TB, text string) (*loop, *fakeBus) {
	t.Helper()
	l, bus := newTestLoop(t, func(cfg *Config) {
		set, err := rules.Parse("rules.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Rules = set
	})
	l.srv.filters.most = 0
	return l, bus
}

// work decides about all that waits.
func work(l *loop) {
	l.srv.filters.workers++
	l.srv.filters.work()
}

// joinAs joins a new V2 socket with assigns.
func joinAs(t testing.TB, l *loop, b *fakeBus, topic, assigns string) *channel {
	t.Helper()
	s := openSocket(l, keeping(), phx.V2)
	s.assigns = []byte(assigns)
	ch := join(t, l, b, s, topic)
	s.tr.(*fakeTransport).written = nil
	return ch
}

// say broadcasts message n of a user.
func say(l *loop, topic, user string, n int, from *channel) {
	b := &Broadcast{Topic: topic, Event: "e", Payload: fmt.Appendf(nil, `{"n":%d,"x":"","user":%q,"ip":"203.0.113.9"}`, n, user)}
	if from != nil {
		b.From = from.id()
	}
	l.srv.Broadcast(b)
}

func wantHeard(t *testing.T, name string, ch *channel, want ...string) {
	t.Helper()
	if got := heard(t, ch); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s heard %q, want %q", name, got, want)
	}
}

func TestFilter(t *testing.T) {
	l, bus := newFilterLoop(t, blockedRule)
	free := joinAs(t, l, bus, "room:a", `{"blocked":[]}`)
	other := joinAs(t, l, bus, "room:a", `{"blocked":[],"name":"not looked at"}`)
	strict := joinAs(t, l, bus, "room:a", `{"blocked":["bob"]}`)
	staff := joinAs(t, l, bus, "room:a", `{"blocked":[],"staff":true}`)
	fails := joinAs(t, l, bus, "room:a", `{}`)
	elsewhere := joinAs(t, l, bus, "room:b", `{"blocked":[]}`)
	say(l, "room:a", "ann", 1, nil)
	say(l, "room:a", "bob", 2, other)
	turn(l)
	wantHeard(t, "free", free) // nothing is decided yet
	work(l)
	turn(l)
	wantHeard(t, "other", other, "e1")
	wantHeard(t, "strict", strict, "e1")
	wantHeard(t, "fails", fails)
	wantHeard(t, "elsewhere", elsewhere)
	const frame = `[null,null,"room:a","e",{"n":1,"x":"","user":"ann","ip":"203.0.113.9"}]`
	if got := received(t, free); len(got) != 2 || got[0] != frame {
		t.Errorf("free got %q, want the bytes that came", got)
	}
	wantReceived(t, staff, `[null,null,"room:a","e",{"ip":"203.0.113.9","n":1,"x":""}]`, `[null,null,"room:a","e",{"ip":"203.0.113.9","n":2,"x":""}]`)
	for i, want := range []int64{decisionDelivered: 3, decisionReplaced: 2, decisionWithheld: 1, decisionFailed: 2} { // of two broadcasts, by four classes
		if got := l.stats.decisions.n[i].load(); got != want {
			t.Errorf("%s: %d decisions, want %d", l.stats.decisions.names[i], got, want)
		}
	}
	if got := l.stats.dropped.n[droppedDeliver].load(); got != 2 {
		t.Errorf("%d failures are counted, want 2", got)
	}
	if got := l.stats.deliveries.load(); got != 7-1+1 { // free 2, other 2 with its own, strict 1, staff 2
		t.Errorf("%d deliveries are counted", got)
	}
}

// TestFilterKeepsOrder: a push, and a join, find their place among broadcasts that are not decided yet.
func TestFilterKeepsOrder(t *testing.T) {
	l, bus := newFilterLoop(t, blockedRule)
	a := joinAs(t, l, bus, "room:a", `{"blocked":[]}`)
	b := joinAs(t, l, bus, "room:a", `{"blocked":["bob"]}`)
	say(l, "room:a", "ann", 1, nil)
	say(l, "room:a", "bob", 2, nil)
	for _, ch := range []*channel{a, b} {
		l.srv.Channel(&ChannelMessage{Channel: ch.id(), Event: "mine", Payload: []byte(`{"n":0,"x":0}`)})
	}
	turn(l)
	wantHeard(t, "a", a, "e1", "e2", "mine0")
	wantHeard(t, "b", b, "e1", "mine0")
	c := joinAs(t, l, bus, "room:a", `{"blocked":[]}`)
	say(l, "room:a", "ann", 3, nil)
	turn(l)
	work(l)
	turn(l)
	for _, ch := range []*channel{a, b, c} {
		wantHeard(t, ch.id(), ch, "e3")
	}
	l.srv.BroadcastPresence("room:a", "presence_diff", []byte(`{"joins":{},"leaves":{}}`))
	turn(l)
	if got := received(t, b); len(got) != 1 {
		t.Errorf("presence is not filtered, and waits for nobody: %q", got)
	}
}

// TestFilterFollowsAssigns: what counts is what the assigns are when the broadcast goes out.
func TestFilterFollowsAssigns(t *testing.T) {
	l, bus := newFilterLoop(t, blockedRule)
	ch := joinAs(t, l, bus, "room:a", `{"blocked":[]}`)
	say(l, "room:a", "bob", 1, nil)
	turn(l)
	ch.send(l, "2", "ask", `{}`)
	bus.calls[0](&Answer{Status: "none", Assigns: []byte(`{"blocked":["bob"]}`)}, nil)
	turn(l)
	say(l, "room:a", "bob", 2, nil)
	say(l, "room:a", "ann", 3, nil)
	work(l)
	turn(l)
	got := heard(t, ch)
	if last := got[len(got)-1]; last != "e3" || strings.Contains(strings.Join(got, " "), "e2") {
		t.Errorf("heard %q", got)
	}
}

// TestFilterReload: a reload's expression holds from the next broadcast on, for those too who joined under another or under none.
func TestFilterReload(t *testing.T) {
	l, bus := newFilterLoop(t, "channels:\n  - {topic: \"room:*\", join: allow}\n")
	reload := func(text string) {
		set, err := rules.Parse("rules.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		l.srv.SetRules(set)
	}
	a := joinAs(t, l, bus, "room:a", `{"blocked":["bob"],"mute":false}`)
	b := joinAs(t, l, bus, "room:a", `{"blocked":[],"mute":true}`)
	say(l, "room:a", "bob", 1, nil)
	turn(l)
	reload(blockedRule)
	say(l, "room:a", "bob", 2, nil)
	reload("channels:\n  - {topic: \"room:*\", join: allow, deliver: '!assigns.mute'}\n")
	say(l, "room:a", "bob", 3, nil)
	reload("channels:\n  - {topic: \"room:*\", join: allow}\n")
	say(l, "room:a", "bob", 4, nil)
	turn(l)
	work(l)
	turn(l)
	wantHeard(t, "a", a, "e1", "e3", "e4")
	wantHeard(t, "b", b, "e1", "e2", "e4")
	for _, ch := range []*channel{a, b} {
		l.peerGone(ch.socket)
	}
}

// TestFilterIsBounded: a topic whose broadcasts cannot be decided fast enough has a gap, and nobody else.
func TestFilterIsBounded(t *testing.T) {
	l, bus := newFilterLoop(t, blockedRule)
	ch := joinAs(t, l, bus, "room:a", `{"blocked":[]}`)
	other := joinAs(t, l, bus, "room:b", `{"blocked":[]}`)
	const count = 2 * filterTopicBytes / (100_000 + filterOverhead)
	for n := range count {
		l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "e", Payload: fmt.Appendf(nil, `{"n":%d,"user":"ann","x":"%s"}`, n, floodPadding)})
	}
	say(l, "room:b", "ann", 1, nil)
	turn(l)
	if waits := l.srv.filters.bytes; waits > filterTopicBytes+2*filterOverhead {
		t.Errorf("%d bytes wait", waits)
	}
	work(l)
	turn(l)
	pass(l, 20)
	wantHeard(t, "other", other, "e1")
	got := heard(t, ch)
	if len(got) < 10 || got[len(got)-1] != "gap" {
		t.Fatalf("heard %q", got)
	}
	for i, e := range got[:len(got)-1] {
		if e != fmt.Sprint("e", i) {
			t.Fatalf("place %d: %s", i, e)
		}
	}
	if q := &l.srv.filters; q.bytes != 0 || len(q.turns) != 0 || q.workers != 0 {
		t.Errorf("left: %d bytes, %d turns, %d workers", q.bytes, len(q.turns), q.workers)
	}
}

// TestFilterOrders: under any interleaving each member gets exactly what was broadcast while it was a member and is for it, in order.
func TestFilterOrders(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l, bus := newFilterLoop(t, blockedRule)
		type member struct {
			ch    *channel
			knows []string // whom it has blocked
			want  []string
		}
		var all []*member
		sent := 0
		users := []string{"ann", "bob", "cem"}
		for range 60 {
			switch rng.IntN(7) {
			case 0:
				blocked := users[:rng.IntN(len(users)+1)]
				m := &member{knows: blocked}
				turn(l) // what is in the mailbox came before it
				m.ch = joinAs(t, l, bus, "room:a", `{"blocked":["`+strings.Join(blocked, `","`)+`"]}`)
				all = append(all, m)
			case 1:
				if len(all) > 0 {
					i := rng.IntN(len(all))
					wantHeardOf(t, seed, all[i].ch, all[i].want, false)
					l.peerGone(all[i].ch.socket)
					all = append(all[:i], all[i+1:]...)
				}
			case 2, 3:
				user, from := users[rng.IntN(len(users))], (*member)(nil)
				if len(all) > 0 && rng.IntN(2) == 0 {
					from = all[rng.IntN(len(all))]
					say(l, "room:a", user, sent, from.ch)
				} else {
					say(l, "room:a", user, sent, nil)
				}
				for _, m := range all {
					if m != from && !strings.Contains(strings.Join(m.knows, " "), user) {
						m.want = append(m.want, fmt.Sprint("e", sent))
					}
				}
				sent++
			case 4:
				if len(all) > 0 {
					m := all[rng.IntN(len(all))]
					l.srv.Channel(&ChannelMessage{Channel: m.ch.id(), Event: "mine", Payload: fmt.Appendf(nil, `{"n":%d,"x":0}`, sent)})
					m.want = append(m.want, fmt.Sprint("mine", sent))
				}
			case 5:
				work(l)
			case 6:
				turn(l)
			}
		}
		turn(l)
		work(l)
		turn(l)
		for _, m := range all {
			wantHeardOf(t, seed, m.ch, m.want, true)
			l.peerGone(m.ch.socket)
		}
		if ht := l.srv.hub.topics["room:a"]; ht != nil && ht.filter != nil && len(ht.filter.classes) != 0 {
			t.Fatalf("seed %d: %d classes are left", seed, len(ht.filter.classes))
		}
	}
}

// wantHeardOf compares all that a member has heard; unless it is complete, the rest may be on its way.
func wantHeardOf(t *testing.T, seed uint64, ch *channel, want []string, complete bool) {
	t.Helper()
	got := heard(t, ch)
	if len(got) > len(want) || complete && len(got) < len(want) || strings.Join(got, " ") != strings.Join(want[:len(got)], " ") {
		t.Fatalf("seed %d: %s heard %q, want %q", seed, ch.id(), got, want)
	}
}

// TestJoinIf: a rule's condition decides in the authz service's place.
func TestJoinIf(t *testing.T) {
	l, bus := newFilterLoop(t, "channels:\n  - {topic: \"room:*\", join: 'topic == \"room:\" + claims.sub || params.key == \"sesame\"'}\n")
	for _, tc := range []struct {
		assigns, params string
		want            bool
	}{
		{`{"claims":{"sub":"a"}}`, `{}`, true},
		{`{"claims":{"sub":"b"}}`, `{"key":"sesame"}`, true},
		{`{"claims":{"sub":"b"}}`, `{"key":"other"}`, false},
		{`{"claims":{"sub":"b"}}`, `{}`, false}, // it fails
		{``, `{}`, false},
	} {
		s := openSocket(l, keeping(), phx.V2)
		if tc.assigns != "" {
			s.assigns = []byte(tc.assigns)
		}
		ch := joinWith(l, bus, s, "room:a", tc.params)
		if (ch != nil) != tc.want {
			t.Errorf("%s with %s: joined %t, want %t", tc.assigns, tc.params, ch != nil, tc.want)
		}
		if ch == nil {
			if got := s.tr.(*fakeTransport).frames(t); len(got) != 1 || string(got[0].Payload) != errorReply("1", "room:a", "unauthorized") {
				t.Errorf("told %v", got)
			}
		}
	}
	bus.away = true
	s := openSocket(l, keeping(), phx.V2)
	joinWith(l, bus, s, "room:a", `{"key":"sesame"}`)
	if got := s.tr.(*fakeTransport).frames(t); len(got) != 1 || string(got[0].Payload) != errorReply("1", "room:a", "unavailable") {
		t.Errorf("told %v", got)
	}
}
