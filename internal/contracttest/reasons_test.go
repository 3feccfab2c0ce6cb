package contracttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

func TestUnauthorizedEvents(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: authz
    events:
      - {event: known, do: broadcast, reply: true}
      - {event: "*", do: call}
`)
	b.answer("phx.event.>", ``)
	b.serve("phx.authz.join", func(msg *natsMsg) {
		switch {
		case strings.Contains(string(msg.Data), `"topic":"room:none"`):
			reply(msg, `{"status":"ok","events":[]}`)
		case strings.Contains(string(msg.Data), `"topic":"room:some"`):
			reply(msg, `{"status":"ok","events":["known","a b"]}`)
		default:
			reply(msg, `{"status":"ok"}`)
		}
	})
	for topic, allowed := range map[string][]string{
		"room:none": nil, "room:some": {"known", "a b"}, "room:all": {"known", "a b", "other"},
	} {
		c := g.dial(t)
		c.Join(topic, struct{}{})
		for _, name := range []string{"known", "a b", "other"} {
			ref := c.Push(topic, name, struct{}{})
			if strings.Contains(strings.Join(allowed, ","), name) {
				c.WantReply(ref, "ok")
			} else {
				wantError(t, c, ref, "unauthorized")
			}
		}
		c.Leave(topic) // leaving needs no permission
	}
}

func TestPayloadTooLarge(t *testing.T) {
	t.Parallel()
	const maxPayload = 1 << 20 // the NATS server's default
	g, b := setup(t, `channels:
  - topic: "small:*"
    join: allow
    limits: {payload_bytes: 64}
    events:
      - {event: all, do: broadcast, reply: true}
      - {event: "*", do: call}
  - topic: "large:*"
    join: allow
    events:
      - {event: all, do: broadcast, reply: true}
      - {event: cast, do: cast}
      - {event: "*", do: call}
`, "MAX_FRAME_BYTES=4194304")
	b.answer("phx.event.ask.>", ``)
	c := g.dial(t)
	c.Join("small:1", struct{}{})
	c.Join("large:1", struct{}{})
	// sized is an object of exactly n bytes.
	sized := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	for _, test := range []struct {
		topic, event string
		bytes        int
		ok           bool
	}{
		{"small:1", "ask", 64, true},
		{"small:1", "ask", 65, false},
		{"small:1", "all", 64, true},
		{"small:1", "all", 65, false},
		{"large:1", "ask", maxPayload - 4096, true},
		{"large:1", "ask", maxPayload, false}, // the headers come on top
		{"large:1", "ask", maxPayload - 20, false},
		{"large:1", "ask", 2 * maxPayload, false},
		{"large:1", "cast", maxPayload - 20, false},
		{"large:1", "all", maxPayload - 4096, true},
		{"large:1", "all", maxPayload - 20, false},
		{"large:1", "all", 3 * maxPayload, false},
	} {
		c.SendText(fmt.Sprintf(`[null,"r",%q,%q,%s]`, test.topic, test.event, sized(test.bytes)))
		if test.ok {
			c.WantReply("r", "ok")
		} else {
			wantError(t, c, "r", "payload too large")
		}
		c.Drain()
	}
	c.SendBinary([]byte("\x00\x01\x01\x07\x0312small:1ask" + strings.Repeat("\xff", 65)))
	wantError(t, c, "2", "payload too large")
	c.Heartbeat()
}

func TestRateLimited(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: allow
    limits: {events_per_second: 1, burst: 3}
    events:
      - {event: all, do: broadcast_from, reply: true}
      - {event: "*", do: call}
`)
	b.answer("phx.event.>", ``)
	c, other := g.dial(t), g.dial(t)
	for _, topic := range []string{"room:1", "room:2"} { // per channel of one socket
		c.Join(topic, struct{}{})
		other.Join(topic, struct{}{})
		start := time.Now()
		for n := range 4 {
			ref := c.Push(topic, []string{"all", "ask"}[n%2], struct{}{})
			if n < 3 {
				c.WantReply(ref, "ok")
			} else if m := c.WantReply(ref, ""); time.Since(start) < 900*time.Millisecond {
				if m.Status != "error" {
					t.Errorf("event %d within a second: %s, want rate limited", n, m.Status)
				}
				wantJSON(t, "fourth event", m.Payload, `{"reason":"rate limited"}`)
			}
		}
		other.Call(topic, "ask", struct{}{}, "ok")
	}
	// A second gives the next one back.
	waitFor(t, "an event to be let through again", func() bool {
		return c.WantReply(c.Push("room:1", "ask", struct{}{}), "").Status == "ok"
	})
}

// The first event is with the backend, 1,000 wait: one more is too many.
func TestOverloaded(t *testing.T) {
	t.Parallel()
	const waiting = 1000
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: allow
    events: [{event: "*", do: call, timeout: 60s}]
`)
	events := b.listen("phx.event.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.Join("room:2", struct{}{})
	var refs []string
	refs = append(refs, c.Push("room:1", "ask", struct{}{}))
	held := next(t, events)
	for range waiting {
		refs = append(refs, c.Push("room:1", "ask", struct{}{}))
	}
	wantError(t, c, c.Push("room:1", "ask", struct{}{}), "overloaded")
	c.Push("room:2", "ask", struct{}{}) // another channel never waits
	if msg := next(t, events); msg.Subject != "phx.event.ask.room.2" {
		t.Errorf("got %s, want the other channel's", msg.Subject)
	}
	for _, ref := range refs {
		reply(held, ``)
		c.WantReply(ref, "ok")
		if ref != refs[waiting] {
			held = next(t, events)
		}
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	nats := phxtest.StartCluster(t, 1)
	g := startGateway(t, nats.URL(0), `channels:
  - topic: "authz:*"
  - topic: "room:*"
    join: allow
    events:
      - {event: all, do: broadcast}
      - {event: others, do: broadcast_from, reply: true}
      - {event: seen, do: cast}
      - {event: "*", do: call}
    on_gap: ignore
`)
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	nats.Stop(0)
	waitFor(t, "the gateway to see that NATS is away", func() bool {
		m := c.WantReply(c.Push("room:1", "ask", struct{}{}), "error")
		return strings.Contains(string(m.Payload), `"unavailable"`)
	})
	for _, name := range []string{"ask", "all", "others", "seen"} {
		wantError(t, c, c.Push("room:1", name, struct{}{}), "unavailable")
	}
	wantError(t, c, c.StartJoin("room:2", struct{}{}), "unavailable")
	wantError(t, c, c.StartJoin("authz:1", struct{}{}), "authorization unavailable")
	c.Heartbeat()
	nats.Restart(0)
	b := connectBackend(t, nats.URL(0))
	b.answer("phx.event.ask.>", `{"back":true}`)
	waitFor(t, "calls to work again", func() bool {
		return c.WantReply(c.Push("room:1", "ask", struct{}{}), "").Status == "ok"
	})
	c.Join("room:2", struct{}{})
	b.publish("phx.topic.room.1", `{}`, "Phx-Event", "back")
	c.WantEvent("room:1", "back", `{}`)
}
