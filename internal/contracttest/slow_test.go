package contracttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const slowRules = `channels:
  - {topic: "feed:*", join: allow, slow: drop_oldest, on_gap: notify}
  - {topic: "price:*", join: allow, slow: {conflate: payload.symbol}, on_gap: notify}
`

// A client that stops reading keeps its socket under these rules, and gets the newest when it reads again, in order.
func TestSlowPolicies(t *testing.T) {
	t.Parallel()
	g, b := setup(t, slowRules, "OUTBOUND_BYTES=262144")
	pad := strings.Repeat("x", 20_000)
	body := func(n int) string { return fmt.Sprintf(`{"symbol":%d,"n":%d,"pad":"%s"}`, n%5, n, pad) }
	for _, test := range []struct{ topic, sample string }{
		{"feed:1", `phxgate_dropped_total{reason="slow"}`},
		{"price:1", `phxgate_dropped_total{reason="conflated"}`},
	} {
		slow, other := g.dial(t, phxtest.Paused(), phxtest.Name("slow")), g.dial(t, phxtest.Name("other"))
		ref := slow.StartJoin(test.topic, struct{}{})
		other.Join(test.topic, struct{}{})
		subject := "phx.topic." + strings.ReplaceAll(test.topic, ":", ".")
		// The kernel takes some megabytes at first.
		n := 0
		for ; n < 100 || g.count(t, test.sample) < 100; n++ {
			b.publish(subject, body(n), "Phx-Event", "e")
			other.WantEvent(test.topic, "e", body(n))
			if n == 2000 {
				t.Fatalf("40 MB were published and nothing counted as %s", test.sample)
			}
		}
		b.publish(subject, `{}`, "Phx-Event", "end")
		slow.Resume()
		slow.WantReply(ref, "ok")
		last, told, after := -1, 0, map[int]int{}
		for {
			m, err := phxtest.ParseMessage(slow.Recv(phxtest.Patience()))
			if err != nil {
				t.Fatal(err)
			}
			if m.Event == "end" {
				break
			}
			if m.Event == "gap" {
				told++
				continue
			}
			var at, symbol int
			if _, err := fmt.Sscanf(string(m.Payload), `{"symbol":%d,"n":%d,`, &symbol, &at); err != nil || at <= last {
				t.Fatalf("%s: %.60s after %d: %v", test.topic, m.Payload, last, err)
			}
			last, after[symbol] = at, at
		}
		if last != n-1 {
			t.Errorf("%s: the last is %d of %d", test.topic, last, n)
		}
		if test.topic == "feed:1" {
			if told == 0 {
				slow.WantEvent("feed:1", "gap", `{}`)
			}
			continue
		}
		for symbol, at := range after {
			if at < n-5 {
				t.Errorf("%s: the last of symbol %d is %d of %d", test.topic, symbol, at, n)
			}
		}
		if told > 0 {
			t.Errorf("%s: told of %d gaps", test.topic, told)
		}
	}
}

// Beyond OUTBOUND_BYTES_TOTAL the sockets that have the most waiting go first; what many wait for counts once.
func TestOutboundTotal(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "OUTBOUND_BYTES=100000000", "OUTBOUND_BYTES_TOTAL=8000000")
	joined := b.listen("phx.joined.>")
	var stuck []string
	for range 3 {
		c := g.dial(t, phxtest.Paused())
		c.StartJoin("room:1", struct{}{})
		stuck = append(stuck, next(t, joined).Header.Get("Phx-Channel"))
	}
	left := b.listen("phx.left.>")
	body := `{"pad":"` + strings.Repeat("x", 500_000) + `"}`
	for range 12 { // for each: what the kernel takes, and up to 6 MB that are counted once
		b.publish("phx.topic.room.1", body, "Phx-Event", "e")
	}
	for n := 0; ; n++ { // for one alone, until there is too much
		b.publish("phx.channel."+stuck[1], body, "Phx-Event", "e")
		b.publish("phx.channel."+stuck[2], `{}`, "Phx-Event", "e")
		b.flush()
		if msg, err := left.NextMsg(20 * time.Millisecond); err == nil {
			wantHeaders(t, msg, "Phx-Channel", stuck[1])
			break
		}
		if n == 40 {
			t.Fatal("20 MB wait for one socket, of 8 MB")
		}
	}
	if n := g.endedFor(t, "outbound_total"); n != 1 {
		t.Errorf("%d sockets were aborted for the total, want 1", n)
	}
}
