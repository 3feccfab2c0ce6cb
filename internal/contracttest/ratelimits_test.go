package contracttest

import (
	"fmt"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// limited is how many events or joins a gateway answered rate limited, by whose limit it was.
func (g *gateway) limited(t *testing.T, scope, kind string) int {
	t.Helper()
	return g.count(t, fmt.Sprintf(`phxgate_rate_limited_total{kind=%q,scope=%q}`, kind, scope))
}

// wantLimited wants what was answered since the gateway began.
func (g *gateway) wantLimited(t *testing.T, want map[string]int) {
	t.Helper()
	for _, of := range [][2]string{{"channel", "event"}, {"socket", "event"}, {"user", "event"}, {"socket", "join"}, {"user", "join"}} {
		if n := g.limited(t, of[0], of[1]); n != want[of[0]+" "+of[1]] {
			t.Errorf("%d %ss were limited by %s, want %d", n, of[1], of[0], want[of[0]+" "+of[1]])
		}
	}
}

// The rates of these tests give nothing back while a test runs.
func TestEventRateLimits(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "slow:*"
    join: allow
    limits: {events_per_second: 0.001, burst: 2}
    events: [{event: "*", do: call}]
  - topic: "*"
    join: allow
    events: [{event: "*", do: call}]
`, "CONNECT_AUTH=authz", "SOCKET_EVENTS_PER_SECOND=0.001", "SOCKET_EVENTS_BURST=5", "USER_EVENTS_PER_SECOND=0.001", "USER_EVENTS_BURST=8")
	serveIDs(b)
	b.answer("phx.event.>", ``)
	open := func(id string) *phxtest.Client {
		c := phxtest.Dial(t, g.url("uid="+id+"&vsn=2.0.0"), phxtest.Name(id))
		c.Join("room:1", struct{}{})
		return c
	}
	send := func(c *phxtest.Client, topic string, allowed int) {
		t.Helper()
		for range allowed {
			c.Call(topic, "ask", struct{}{}, "ok")
		}
		wantError(t, c, c.Push(topic, "ask", struct{}{}), "rate limited")
	}
	ann := open("user:1")
	ann.Join("slow:1", struct{}{})
	send(ann, "slow:1", 2)            // of the channel; the next costs the socket nothing
	send(ann, "room:1", 3)            // 5 of the socket
	send(open("user:1"), "room:1", 3) // 8 of the user
	send(open("user:1"), "room:1", 0) // whatever sockets he opens
	send(open("user:2"), "room:1", 5)
	send(open(""), "room:1", 5)
	send(open(""), "room:1", 5) // nobody shares anything with an anonymous socket

	// Whoever sends too much can say that he is there, and go.
	ann.Heartbeat()
	ann.Leave("room:1")
	ann.Leave("slow:1")
	g.wantLimited(t, map[string]int{"channel event": 1, "socket event": 4, "user event": 2})
}

func TestJoinRateLimits(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "CONNECT_AUTH=authz", "SOCKET_JOINS_PER_SECOND=0.001", "SOCKET_JOINS_BURST=3", "USER_JOINS_PER_SECOND=0.001", "USER_JOINS_BURST=4")
	serveIDs(b)
	b.answer("phx.authz.join", `{"status":"ok"}`)
	requests := b.listen("phx.authz.join")
	open := func(id string) *phxtest.Client {
		return phxtest.Dial(t, g.url("uid="+id+"&vsn=2.0.0"), phxtest.Name(id))
	}
	asked := 0
	join := func(c *phxtest.Client, allowed int) {
		t.Helper()
		for n := range allowed {
			c.Join(fmt.Sprintf("room:%d", n), struct{}{})
		}
		asked += allowed
		wantError(t, c, c.StartJoin("room:x", struct{}{}), "rate limited")
		wantError(t, c, c.Push("room:x", "ask", struct{}{}), "unmatched topic")
		c.Heartbeat()
	}
	ann := open("user:1")
	join(ann, 3)
	join(open("user:1"), 1)
	join(open("user:2"), 3)
	join(open(""), 3)
	// A duplicate join is one more. It has ended the older channel, as one that is refused for another reason does.
	again := ann.StartJoin("room:0", struct{}{})
	wantError(t, ann, again, "rate limited")
	wantError(t, ann, ann.Push("room:0", "ask", struct{}{}), "unmatched topic")
	ann.Leave("room:1")
	g.wantLimited(t, map[string]int{"socket join": 4, "user join": 1})
	b.flush()
	if n, _, err := requests.Pending(); n != asked || err != nil {
		t.Errorf("the authz service was asked %d times (%v), want %d: a join beyond a limit costs it nothing", n, err, asked)
	}
}

// A client with as many channels as it may have comes back with all of them at once, again and again, and is told of a gap of all of them: with no limit set, and with rates alone.
func TestReconnectWith100Channels(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]string{
		"defaults":   nil,
		"rates only": {"SOCKET_JOINS_PER_SECOND=1", "USER_JOINS_PER_SECOND=1", "SOCKET_EVENTS_PER_SECOND=10", "USER_EVENTS_PER_SECOND=10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, b := setup(t, authzRules, append(settings, "CONNECT_AUTH=authz")...)
			serveIDs(b)
			b.answer("phx.authz.join", `{"status":"ok"}`)
			joinAll := func(c *phxtest.Client) {
				t.Helper()
				var refs []string
				for n := range 100 {
					refs = append(refs, c.StartJoin(fmt.Sprintf("room:%d", n), struct{}{}))
				}
				for _, ref := range refs {
					c.WantReply(ref, "ok")
				}
			}
			for range 4 {
				c := phxtest.Dial(t, g.url("uid=user:1&vsn=2.0.0"))
				joinAll(c)
				joinAll(c)
				c.Drop()
			}
			g.wantLimited(t, nil)
		})
	}
}
