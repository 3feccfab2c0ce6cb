package presence

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func ptr(s string) *string { return &s }

// TestOrders: what backends order, step by step, and what they are answered (contract, "Presence").
func TestOrders(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{socket: "s:1", key: "ann", meta: `{"n":1}`})
		g.join("c2", "room:1", joining{})
		g.fleet.set(func() { g.joined["c3"] = &fakeChannel{topic: "room:1", list: Presences{}, synced: true} })
		f.pass(time.Second)
		long := `{"x":"` + strings.Repeat("x", MaxMeta) + `"}`
		for i, c := range []struct {
			op, topic, channel string
			key                *string
			meta, want         string
			seen               []string // on room:1
		}{
			{"update", "room:1", "c1", nil, `{"n":2,"phx_ref":"mine"}`, "ok", []string{`ann {"n":2}`}},
			{"", "room:1", "c1", nil, `{"n":3}`, "ok", []string{`ann {"n":3}`}},
			{"update", "room:1", "c1", ptr("ann"), `{"n":4}`, "ok", []string{`ann {"n":4}`}},
			{"update", "room:1", "c1", nil, "", "invalid meta", []string{`ann {"n":4}`}},
			{"update", "room:1", "c1", nil, `[1]`, "invalid meta", []string{`ann {"n":4}`}},
			{"update", "room:1", "c1", nil, `null`, "invalid meta", []string{`ann {"n":4}`}},
			{"update", "room:1", "c1", nil, long, "invalid meta", []string{`ann {"n":4}`}},
			{"update", "room:1", "c1", ptr("bob"), `{}`, "not tracked", []string{`ann {"n":4}`}},
			{"update", "room:1", "c2", nil, `{}`, "not tracked", []string{`ann {"n":4}`}},
			{"track", "room:1", "c2", nil, `{}`, "invalid presence key", []string{`ann {"n":4}`}},
			{"track", "room:1", "c2", ptr("__proto__"), `{}`, "invalid presence key", []string{`ann {"n":4}`}},
			{"track", "room:1", "c2", ptr("bob"), `7`, "invalid meta", []string{`ann {"n":4}`}},
			{"track", "room:1", "c2", ptr("bob"), "", "ok", []string{`ann {"n":4}`, `bob {}`}},
			{"track", "room:1", "c2", ptr("bob"), `{}`, "already tracked", []string{`ann {"n":4}`, `bob {}`}},
			{"track", "room:1", "c1", nil, `{}`, "already tracked", []string{`ann {"n":4}`, `bob {}`}},
			{"track", "room:1", "c3", ptr("cat"), `{"n":1}`, "ok", []string{`ann {"n":4}`, `bob {}`, `cat {"n":1}`}},
			{"track", "room:1", "c4", ptr("dan"), `{}`, "unknown channel", []string{`ann {"n":4}`, `bob {}`, `cat {"n":1}`}},
			{"track", "room:2", "c1", ptr("dan"), `{}`, "unknown channel", []string{`ann {"n":4}`, `bob {}`, `cat {"n":1}`}},
			{"untrack", "room:2", "c3", ptr("cat"), "", "unknown channel", []string{`ann {"n":4}`, `bob {}`, `cat {"n":1}`}},
			{"dance", "room:1", "c1", nil, `{}`, "invalid op", []string{`ann {"n":4}`, `bob {}`, `cat {"n":1}`}},
			{"untrack", "room:1", "c2", nil, "", "ok", []string{`ann {"n":4}`, `bob {}`, `cat {"n":1}`}},
			{"untrack", "room:1", "c2", ptr("bob"), "", "ok", []string{`ann {"n":4}`, `cat {"n":1}`}},
			{"untrack", "room:1", "c2", ptr("bob"), "", "ok", []string{`ann {"n":4}`, `cat {"n":1}`}},
			{"untrack", "room:1", "c1", nil, "", "ok", []string{`cat {"n":1}`}},
			{"update", "room:1", "c1", nil, `{}`, "not tracked", []string{`cat {"n":1}`}},
			{"track", "room:1", "c1", nil, `{"n":5}`, "ok", []string{`ann {"n":5}`, `cat {"n":1}`}},
			{"update", "room:1", "c1", nil, `{"n":6}`, "ok", []string{`ann {"n":6}`, `cat {"n":1}`}},
		} {
			if got := g.order(c.op, c.topic, c.channel, c.key, c.meta); got != c.want {
				t.Fatalf("step %d, %s of %s: %q, want %q", i, c.op, c.channel, got, c.want)
			}
			f.wantSeen("room:1", c.seen...)
		}
		// The key that it joined with is its own again: the client may change the meta.
		g.Update("c1", []string{"n"}, []byte(`{"n":7}`), func(err error) {
			if err != nil {
				t.Errorf("update by the client: %v", err)
			}
		})
		f.pass(time.Second)
		f.wantSeen("room:1", `ann {"n":7}`, `cat {"n":1}`)
		g.leave("c3", false)
		f.pass(time.Second)
		f.wantSeen("room:1", `ann {"n":7}`)
	})
}

// TestTooManyKeys: one channel is tracked under sixteen keys, not more.
func TestTooManyKeys(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{key: "k0"})
		for i := 1; i < MaxKeys; i++ {
			if got := g.order("track", "room:1", "c1", ptr(fmt.Sprintf("k%d", i)), ""); got != "ok" {
				t.Fatalf("key %d: %s", i, got)
			}
		}
		if got := g.order("track", "room:1", "c1", ptr("more"), ""); got != "too many keys" {
			t.Fatalf("one more: %s", got)
		}
		g.leave("c1", false)
		f.pass(time.Second)
		f.wantSeen("room:1")
	})
}

// TestOrderAnswered: an order is answered when the bucket has it, with the point of the log.
func TestOrderAnswered(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(time.Second)
		f.set(func() { f.loseStores = 1 })
		got := make(chan []byte, 1)
		g.Message(mustJSON(&ToGateway{Update: &Update{Topic: "room:1", Channel: "c1", Meta: []byte(`{"n":1}`)}}), func(b []byte) { got <- b })
		f.pass(time.Second)
		if len(got) > 0 {
			t.Fatalf("answered %s before the bucket had it", <-got)
		}
		f.pass(5 * time.Second)
		var r UpdateReply
		mustUnmarshal(<-got, &r)
		if r.Status != "ok" || r.Seq != f.seq {
			t.Fatalf("answered %+v, want ok at %d", r, f.seq)
		}
	})
}
