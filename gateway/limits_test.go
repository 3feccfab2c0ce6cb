package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

func TestLimitValidate(t *testing.T) {
	for _, m := range []Limit{{}, {PerSecond: 0.5, Burst: 1}} {
		if err := m.validate("F"); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	cfg := DefaultConfig()
	for _, m := range []Limit{{PerSecond: 1}, {Burst: 1}, {PerSecond: -1, Burst: 1}, {PerSecond: 1, Burst: -1}} {
		cfg.UserLimits.Joins = m
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "UserLimits.Joins") {
			t.Errorf("%+v: %v, want an error that names it", m, err)
		}
	}
}

// limitsClient is a V2 socket that counts what it is answered.
type limitsClient struct {
	t    *testing.T
	l    *loop
	bus  *fakeBus
	s    *socket
	tr   *fakeTransport
	refs int
}

func newLimitsClient(t *testing.T, l *loop, bus *fakeBus, id string) *limitsClient {
	tr := &fakeTransport{keep: true}
	c := &limitsClient{t: t, l: l, bus: bus, tr: tr, s: openSocket(l, tr, phx.V2)}
	l.setID(c.s, id)
	return c
}

// send sends a message and returns what came for its ref: ok, a reason, or nothing.
func (c *limitsClient) send(joinRef, topic, event string) string {
	c.t.Helper()
	c.refs++
	ref := fmt.Sprint(c.refs)
	if event == "phx_join" {
		joinRef = ref
	}
	c.tr.written = nil
	c.l.feed(c.s, clientText(`["`+joinRef+`","`+ref+`","`+topic+`","`+event+`",{}]`))
	settle(c.l, c.bus)
	for _, f := range c.tr.frames(c.t) {
		_, body, found := strings.Cut(string(f.Payload), `,"`+ref+`","`+topic+`","phx_reply",{"status":`)
		switch {
		case f.Header.OpCode != ws.OpText || !found:
		case strings.HasPrefix(body, `"ok"`):
			return "ok"
		default:
			_, reason, _ := strings.Cut(body, `"reason":"`)
			reason, _, _ = strings.Cut(reason, `"`)
			return reason
		}
	}
	return ""
}

// join joins a topic and returns its join_ref and what it was answered.
func (c *limitsClient) join(topic string) (joinRef, answer string) {
	c.t.Helper()
	answer = c.send("", topic, "phx_join")
	return fmt.Sprint(c.refs), answer
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: answered %q, want %q", what, got, want)
	}
}

const limitsRules = `
channels:
  - topic: "slow:*"
    join: allow
    events: [{event: "*", do: cast, reply: true}]
    limits: {events_per_second: 1, burst: 2}
  - topic: "*"
    join: allow
    events: [{event: "*", do: cast, reply: true}]
`

func limitedLoop(t *testing.T, socket, user Limits) (*loop, *fakeBus) {
	t.Helper()
	set, err := rules.Parse("rules.yaml", []byte(limitsRules))
	if err != nil {
		t.Fatal(err)
	}
	return newTestLoop(t, func(cfg *Config) { cfg.Rules, cfg.SocketLimits, cfg.UserLimits = set, socket, user })
}

func (l *loop) limitedBy(by int) int64 { return l.stats.rateLimited.n[by].load() }

// The rule's limit is asked first, then the socket's, then the user's; what one refuses costs the next nothing.
func TestEventLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, bus := limitedLoop(t, Limits{Events: Limit{PerSecond: 1, Burst: 4}}, Limits{Events: Limit{PerSecond: 1, Burst: 6}})
		a, b, stranger := newLimitsClient(t, l, bus, "user:1"), newLimitsClient(t, l, bus, "user:1"), newLimitsClient(t, l, bus, "")
		slow, _ := a.join("slow:1")
		room, _ := a.join("room:1")
		if a.s.budget != nil && a.s.budget.joins != nil {
			t.Error("joins have a limiter without a limit")
		}
		for n, answer := range []string{"ok", "ok", "rate limited", "rate limited", "rate limited"} {
			want(t, fmt.Sprintf("slow %d", n), a.send(slow, "slow:1", "x"), answer)
		}
		for n, answer := range []string{"ok", "ok", "rate limited"} {
			want(t, fmt.Sprintf("room %d", n), a.send(room, "room:1", "x"), answer)
		}
		bRoom, _ := b.join("room:1")
		for n, answer := range []string{"ok", "ok", "rate limited"} { // 6 of the user
			want(t, fmt.Sprintf("second socket %d", n), b.send(bRoom, "room:1", "x"), answer)
		}
		free, _ := stranger.join("room:1")
		for n, answer := range []string{"ok", "ok", "ok", "ok", "rate limited"} {
			want(t, fmt.Sprintf("anonymous %d", n), stranger.send(free, "room:1", "x"), answer)
		}
		if ch, so, us := l.limitedBy(limitedChannelEvent), l.limitedBy(limitedSocketEvent), l.limitedBy(limitedUserEvent); ch != 3 || so != 2 || us != 1 {
			t.Errorf("limited: %d by rules, %d by sockets, %d by users, want 3, 2, 1", ch, so, us)
		}
		if want := 2 + 2 + 2 + 4; bus.casts != want {
			t.Errorf("%d events were handed over, want %d", bus.casts, want)
		}
		// Never limited: heartbeats and leaves.
		want(t, "heartbeat", a.send("", "phoenix", "heartbeat"), "ok")
		want(t, "leave", a.send(room, "room:1", "phx_leave"), "ok")
		time.Sleep(time.Second)
		want(t, "a second later", a.send(slow, "slow:1", "x"), "ok")
		want(t, "another", a.send(slow, "slow:1", "x"), "rate limited")
	})
}

func TestJoinLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, bus := limitedLoop(t, Limits{Joins: Limit{PerSecond: 1, Burst: 3}}, Limits{Joins: Limit{PerSecond: 1, Burst: 5}})
		a, b := newLimitsClient(t, l, bus, "user:1"), newLimitsClient(t, l, bus, "user:1")
		var joinRef string
		for n, answer := range []string{"ok", "ok", "ok", "rate limited"} {
			ref, got := a.join(fmt.Sprintf("room:%d", n))
			want(t, fmt.Sprintf("join %d", n), got, answer)
			joinRef = ref
			if n < 3 {
				want(t, "event", a.send(ref, fmt.Sprintf("room:%d", n), "x"), "ok")
			}
		}
		want(t, "event on a topic whose join was limited", a.send(joinRef, "room:3", "x"), "unmatched topic")
		// A duplicate join counts, and has ended the older channel as any.
		_, got := a.join("room:1")
		want(t, "duplicate join", got, "rate limited")
		if a.s.channelOf("room:1") != nil {
			t.Error("the older channel is still there")
		}
		for n, answer := range []string{"ok", "ok", "rate limited"} {
			_, got := b.join(fmt.Sprintf("room:%d", n))
			want(t, fmt.Sprintf("second socket's join %d", n), got, answer)
		}
		// What is refused anyway costs nothing.
		time.Sleep(time.Second)
		for range 3 {
			_, got := a.join(strings.Repeat(":", 16))
			want(t, "invalid topic", got, "invalid topic")
		}
		bus.away = true
		_, got = a.join("room:9")
		want(t, "NATS away", got, "unavailable")
		bus.away = false
		_, got = a.join("room:9")
		want(t, "a second later", got, "ok")
		if so, us := l.limitedBy(limitedSocketJoin), l.limitedBy(limitedUserJoin); so != 2 || us != 1 {
			t.Errorf("limited: %d by sockets, %d by users, want 2 and 1", so, us)
		}
	})
}

// A socket holds nothing until it sends or joins, and without limits never does.
func TestBudgetIsMadeWhenUsed(t *testing.T) {
	l, bus := limitedLoop(t, Limits{}, Limits{})
	c := newLimitsClient(t, l, bus, "user:1")
	ref, _ := c.join("room:1")
	c.send(ref, "room:1", "x")
	if c.s.budget != nil || c.s.channels[0].more != nil {
		t.Errorf("without limits: a budget %v, a channel's %v", c.s.budget, c.s.channels[0].more)
	}
	l, bus = limitedLoop(t, Limits{Events: Limit{PerSecond: 1, Burst: 1}}, Limits{Events: Limit{PerSecond: 1, Burst: 1}})
	c = newLimitsClient(t, l, bus, "user:1")
	if c.s.budget != nil {
		t.Error("an idle socket has a budget")
	}
	ref, _ = c.join("slow:1")
	if m := c.s.channels[0].more; m != nil {
		t.Errorf("an idle channel of a rule with limits holds %+v", m)
	}
	want(t, "event", c.send(ref, "slow:1", "x"), "ok")
	l.abort(c.s, causeClient)
	if c.s.budget != nil {
		t.Error("a socket that ended has a budget")
	}
	for i := range l.srv.users.shards {
		if n := len(l.srv.users.shards[i].here); n != 0 {
			t.Errorf("%d users are here without a socket", n)
		}
	}
}

// A socket and a channel that are quiet let go of budgets that are full again, and only of those.
func TestQuietSocketHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, bus := limitedLoop(t, Limits{Events: Limit{PerSecond: 1, Burst: 12}}, Limits{Joins: Limit{PerSecond: 1, Burst: 12}})
		c := newLimitsClient(t, l, bus, "user:1")
		ref, _ := c.join("slow:1")
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(tickLength)
				tickMail(l.now + 1).deliver(l)
			}
		}
		want(t, "event", c.send(ref, "slow:1", "x"), "ok")
		pass(9 * time.Second)
		if c.s.budget == nil || c.s.channels[0].more == nil {
			t.Error("a budget was let go before the socket was quiet")
		}
		pass(2 * time.Second)
		if c.s.budget != nil || c.s.channels[0].more != nil {
			t.Errorf("a quiet socket holds %+v, its channel %+v", c.s.budget, c.s.channels[0].more)
		}
		wantUsers(t, l.srv.users, 0, 0)

		l, bus = limitedLoop(t, Limits{Events: Limit{PerSecond: 0.1, Burst: 3}}, Limits{})
		c = newLimitsClient(t, l, bus, "user:1")
		ref, _ = c.join("room:1")
		for _, answer := range []string{"ok", "ok", "ok", "rate limited"} {
			want(t, "event", c.send(ref, "room:1", "x"), answer)
		}
		pass(11 * time.Second)
		for _, answer := range []string{"ok", "rate limited"} {
			want(t, "event of a socket that was quiet, not for long enough", c.send(ref, "room:1", "x"), answer)
		}
	})
}

func TestEventLimitsDoNotAllocate(t *testing.T) {
	many := Limits{Events: Limit{PerSecond: 1, Burst: 1 << 30}}
	l, bus := limitedLoop(t, many, many)
	c := newLimitsClient(t, l, bus, "user:1")
	c.join("slow:1")
	ch, rule := c.s.channels[0], &rules.Rule{Limits: rules.Limits{EventsPerSecond: 1, Burst: 1 << 30}}
	if n := testing.AllocsPerRun(1000, func() { l.allowEvent(ch, rule) }); n != 0 {
		t.Errorf("%v allocations for an event", n)
	}
}
