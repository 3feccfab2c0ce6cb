package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// gapRules are a topic for each way to tell a gap.
const gapRules = `
channels:
  - {topic: "room:*", join: allow}
  - {topic: "notify:*", join: allow, on_gap: notify}
  - {topic: "ignore:*", join: allow, on_gap: ignore}
  - {topic: "asked:*"}
`

// heldAuthorizer decides joins when the test says so.
type heldAuthorizer struct {
	Authorizer
	joins []func(*JoinDecision, error)
}

func (a *heldAuthorizer) AuthorizeJoins(asks []JoinAsk) {
	for _, ask := range asks {
		a.joins = append(a.joins, ask.Done)
	}
}

// gapLoop is a loop with gapRules, one socket, and what that was sent.
type gapLoop struct {
	*loop
	t          *testing.T
	bus        *fakeBus
	authorizer *heldAuthorizer
	socket     *socket
	transport  *fakeTransport
}

func newGapLoop(t *testing.T) *gapLoop {
	l, bus := newTestLoop(t, func(cfg *Config) {
		set, err := rules.Parse("rules.yaml", []byte(gapRules))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Rules = set
	})
	g := &gapLoop{loop: l, t: t, bus: bus, authorizer: &heldAuthorizer{}, transport: &fakeTransport{keep: true}}
	l.srv.authorizer = g.authorizer
	g.socket = openSocket(l, g.transport, phx.V2)
	return g
}

// ask sends a join and runs the loop; the bus has not answered.
func (g *gapLoop) ask(topic string) {
	g.feed(g.socket, clientText(`["1","1","`+topic+`","phx_join",{}]`))
	turn(g.loop)
}

// spread lets the time pass within which channels are told to rejoin.
func (g *gapLoop) spread() {
	g.now += ticks(g.srv.cfg.GapSpread) + 2
	g.tickGaps()
	turn(g.loop)
}

// want fails the test unless exactly these were sent since the last call, "topic event" each, whatever their order.
func (g *gapLoop) want(want ...string) {
	g.t.Helper()
	var got []string
	for _, f := range g.transport.frames(g.t) {
		var parts [5]any
		if err := json.Unmarshal(f.Payload, &parts); err != nil {
			g.t.Fatalf("%q: %v", f.Payload, err)
		}
		text := fmt.Sprint(parts[2], " ", parts[3])
		if reply, ok := parts[4].(map[string]any); ok && parts[3] == "phx_reply" {
			text = fmt.Sprint(parts[2], " ", reply["status"])
		}
		got = append(got, text)
	}
	g.transport.written = nil
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		g.t.Errorf("sent %q, want %q", got, want)
	}
}

// TestGapIsTold: each channel as its rule says; of some topics, only theirs.
func TestGapIsTold(t *testing.T) {
	g := newGapLoop(t)
	for _, topic := range []string{"room:a", "room:b", "notify:a", "ignore:a"} {
		join(t, g.loop, g.bus, g.socket, topic)
	}
	g.want("room:a ok", "room:b ok", "notify:a ok", "ignore:a ok")
	g.srv.Gap([]string{"room:b", "notify:a", "room:nobody"})
	turn(g.loop)
	g.want()
	g.spread()
	g.want("notify:a gap", "room:b phx_error")
	g.srv.Gap(nil)
	g.srv.Gap(nil) // once more before the first was told: each is told once
	turn(g.loop)
	g.want()
	g.spread()
	g.want("notify:a gap", "room:a phx_error")
}

// TestJoinAfterGap: what was confirmed before a gap is confirmed anew, also for who joins beside members that stay.
func TestJoinAfterGap(t *testing.T) {
	g := newGapLoop(t)
	join(t, g.loop, g.bus, g.socket, "ignore:a")
	g.srv.Gap(nil)
	turn(g.loop)
	g.ask("ignore:a") // a duplicate join
	g.want("ignore:a ok")
	g.bus.confirm(nil)
	turn(g.loop)
	g.want("ignore:a ok", "ignore:a phx_close")
	g.ask("ignore:a") // no gap since
	g.want("ignore:a ok", "ignore:a phx_close")
}

// TestGapDuringJoin: a confirmation that was asked for before a gap says nothing, nor does one that came while the join waits for its decision.
func TestGapDuringJoin(t *testing.T) {
	g := newGapLoop(t)
	g.ask("room:a")
	g.srv.Gap(nil)
	g.bus.confirm(nil) // of before
	turn(g.loop)
	g.want()
	g.bus.confirm(nil)
	turn(g.loop)
	g.want("room:a ok")

	g.ask("asked:a")
	g.bus.confirm(nil)
	turn(g.loop)
	g.srv.Gap([]string{"asked:a"})
	turn(g.loop)
	g.authorizer.joins[0](&JoinDecision{OK: true, Response: emptyObject}, nil)
	turn(g.loop)
	g.want()
	g.bus.confirm(nil)
	turn(g.loop)
	g.want("asked:a ok")
	g.spread()
	g.want() // who was joined after a gap is not told of it
}

// TestGapThatCannotBeConfirmed: joins are refused, members stay, and the next join asks again.
func TestGapThatCannotBeConfirmed(t *testing.T) {
	g := newGapLoop(t)
	join(t, g.loop, g.bus, g.socket, "ignore:a")
	other := &fakeTransport{keep: true}
	second := openSocket(g.loop, other, phx.V2)
	g.srv.Gap(nil)
	turn(g.loop)
	g.transport.written = nil
	g.feed(second, clientText(`["1","1","ignore:a","phx_join",{}]`))
	turn(g.loop)
	g.bus.confirm(ErrUnavailable)
	turn(g.loop)
	if got := string(other.written); !strings.Contains(got, "unavailable") {
		t.Errorf("the join was answered %q", got)
	}
	g.srv.Broadcast(&Broadcast{Topic: "ignore:a", Event: "e", Payload: emptyObject})
	turn(g.loop)
	g.want("ignore:a e")
	join(t, g.loop, g.bus, second, "ignore:a")
}

// TestRefused: whatever the rule says, members of a topic that the bus brings no more rejoin, and learn why they get nothing.
func TestRefused(t *testing.T) {
	g := newGapLoop(t)
	for _, topic := range []string{"room:a", "ignore:a", "ignore:b"} {
		join(t, g.loop, g.bus, g.socket, topic)
	}
	g.ask("asked:a")
	g.bus.confirm(nil)
	g.transport.written = nil
	g.srv.Refused([]string{"room:a", "ignore:a", "asked:a", "room:nobody"})
	turn(g.loop)
	g.want("asked:a error")
	if g.bus.subscribed["ignore:a"] || !g.bus.subscribed["ignore:b"] {
		t.Errorf("subscribed: %v", g.bus.subscribed)
	}
	g.ask("ignore:a") // before it was told: it gets the new topic's answer
	g.bus.confirm(ErrUnavailable)
	turn(g.loop)
	g.want("ignore:a error", "ignore:a phx_close")
	g.spread()
	g.want("room:a phx_error")
	g.authorizer.joins[0](&JoinDecision{OK: true, Response: emptyObject}, nil) // too late
	turn(g.loop)
	g.want()
	join(t, g.loop, g.bus, g.socket, "room:a") // the permission is back
}
