package presence

import (
	"context"
	"testing"
	"time"
)

// TestHello: a gateway that nobody pings greets again and again, and does not while it is pinged by its name.
func TestHello(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.pass(10 * time.Second)
		if n, most := len(g.hellos), int((10*time.Second-helloAfter)/helloEvery)+1; n < most-2 || n > most {
			t.Fatalf("greeted %d times in 10 s, want about %d", n, most)
		}
		if h := g.hellos[0]; h.Gateway != "g0" || h.Incarnation != f.incarnation(g) {
			t.Fatalf("greeted as %+v, registered as %s", h, f.incarnation(g))
		}
		n := len(g.hellos)
		for range 20 {
			var p Pong
			if !g.ask(&ToGateway{Ping: g.hellos[0].Incarnation}, &p) || p.Incarnation != g.hellos[0].Incarnation {
				t.Fatalf("a ping was answered %+v", p)
			}
			f.pass(500 * time.Millisecond)
		}
		if len(g.hellos) != n {
			t.Fatalf("greeted %d times though it was pinged", len(g.hellos)-n)
		}
		// Pings of an earlier life are answered with the name now, and nothing else.
		for range 10 {
			var p Pong
			if !g.ask(&ToGateway{Ping: "g0=earlier"}, &p) || p.Incarnation != g.hellos[0].Incarnation {
				t.Fatalf("a ping of an earlier life was answered %+v", p)
			}
			f.pass(500 * time.Millisecond)
		}
		if len(g.hellos) == n {
			t.Fatal("a ping of an earlier life kept the gateway from greeting")
		}
	})
}

// TestReset: a gateway that was given up takes another name, and stores what its channels track under new refs.
func TestReset(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", ann)
		g.join("c2", "room:1", joining{key: "bob"})
		g.join("c3", "room:1", joining{key: "cat"})
		f.pass(time.Second)
		old, refs := f.incarnation(g), refsOf(f.state.Topic("room:1").Presences())
		f.giveUp(g)
		g.leave("c3", false)
		f.pass(time.Second)
		f.wantSeen("room:1")
		g.Message(mustJSON(ToGateway{Reset: "g0=another"}), nil)
		f.pass(time.Second)
		if g.life.incarnation != old {
			t.Fatal("began anew though another was meant")
		}
		g.Message(mustJSON(ToGateway{Reset: old}), nil)
		g.Message(mustJSON(ToGateway{Reset: old}), nil) // said twice
		f.pass(time.Second)
		if in := f.incarnation(g); in == old || in != g.life.incarnation || g.life.lives != 2 {
			t.Fatalf("registered as %q, was %q, is %+v", in, old, g.life)
		}
		f.wantSeen("room:1", `ann {"name":"Ann"}`, "bob {}")
		for _, ref := range refsOf(f.state.Topic("room:1").Presences()) {
			for _, o := range refs {
				if ref == o {
					t.Fatalf("%s was used again", ref)
				}
			}
		}
		f.wantLists()
		g.leave("c1", false)
		f.pass(time.Second)
		f.wantSeen("room:1", "bob {}")
	})
}

// TestResetUnderWay: what is under way when a gateway begins anew is stored once, under the new name.
func TestResetUnderWay(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.loseAcks = 1 })
		g.join("c1", "room:1", ann)
		f.pass(100 * time.Millisecond)
		in := f.incarnation(g)
		f.giveUp(g)
		g.Message(mustJSON(ToGateway{Reset: in}), nil)
		f.pass(10 * time.Second)
		f.wantSeen("room:1", `ann {"name":"Ann"}`)
		if n := g.entries.underWay; n != 0 {
			t.Fatalf("%d changes are said to be under way", n)
		}
		f.wantLists()
	})
}

// TestBucketAnew: the bucket is another, whose points of the log begin again: who joined before is told when its entry is in the new one.
func TestBucketAnew(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.seq = 1000; f.state.Skip(1000) })
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		f.set(func() { f.muted, f.deaf = true, true })
		g.join("c1", "room:1", ann)
		g.join("c2", "room:1", joining{key: "bob"})
		f.pass(time.Second)
		if got := g.order("untrack", "room:1", "c2", nil, ""); got != "ok" {
			t.Fatal(got)
		}
		in := f.incarnation(g)
		f.renewBucket()
		f.set(func() { f.muted, f.deaf = false, false })
		g.Message(mustJSON(ToGateway{Reset: in}), nil)
		f.pass(10 * time.Second)
		f.wantSeen("room:1", `ann {"name":"Ann"}`)
		f.wantLists()
	})
}

// TestDrain: the bucket knows that the gateway goes away before Drain returns; the places of its users may be taken, and need no mark.
func TestDrain(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		other := f.start("g1", lingerFor)
		g.join("c1", "room:1", ann)
		g.join("c2", "room:1", joining{key: "bob"})
		other.join("w", "room:1", joining{})
		f.pass(time.Second)
		other.heard()
		began := time.Now()
		g.Drain(time.Minute)
		if d := time.Since(began); d > 50*time.Millisecond {
			t.Fatalf("drain took %v", d)
		}
		for in, reg := range f.state.Incarnations() {
			if (gatewayOf(in) == "g0") != reg.Draining || reg.Linger != lingerFor.Milliseconds() {
				t.Fatalf("%s is registered as %+v", in, reg)
			}
		}
		seq := f.seq
		g.leave("c1", true)
		g.leave("c2", true)
		f.pass(time.Second)
		if f.seq != seq {
			t.Fatal("the end of a draining gateway's channel was written down")
		}
		other.join("c3", "room:1", ann)
		g.Depart(t.Context())
		g.end()
		f.pass(5 * time.Second)
		other.wantHeard("push c3 presence_state")
		f.wantSeen("room:1", `ann {"name":"Ann"}`, "bob {}")
		if f.incarnation(g) == "" {
			t.Fatal("the registration went though users may come back")
		}
	})
}

// TestDrainLingers: a gateway that drains for long removes who does not come back.
func TestDrainLingers(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		g.Drain(time.Minute)
		g.leave("c1", true)
		f.pass(lingerFor + time.Second)
		f.wantSeen("room:1")
	})
}

// TestResetWhileDraining: a gateway that begins anew while it drains says so.
func TestResetWhileDraining(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		g.Drain(time.Minute)
		in := f.incarnation(g)
		f.giveUp(g)
		g.Message(mustJSON(ToGateway{Reset: in}), nil)
		f.pass(time.Second)
		for in, reg := range f.state.Incarnations() {
			if !reg.Draining {
				t.Fatalf("%s is registered as %+v", in, reg)
			}
		}
		f.wantSeen("room:1", `ann {"name":"Ann"}`)
	})
}

// TestDrainNoLinger: with PRESENCE_LINGER=0s nothing is left of a gateway that goes.
func TestDrainNoLinger(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		g.Drain(time.Minute)
		g.leave("c1", true)
		g.Depart(t.Context())
		f.wantSeen("room:1")
		if in := f.incarnation(g); in != "" {
			t.Fatalf("%s is still registered", in)
		}
	})
}

// TestDepartWaits: what the last channels left to do is stored before the end.
func TestDepartWaits(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		g.join("c2", "room:1", joining{key: "bob"})
		f.pass(time.Second)
		g.Drain(time.Minute)
		g.Update("c2", []string{"n"}, []byte(`{"n":1}`), func(error) {})
		f.pass(0) // it is under way, so that the removal waits
		g.leave("c1", false)
		g.Update("c2", []string{"n"}, []byte(`{"n":2}`), func(error) {})
		g.leave("c2", false)
		g.Depart(t.Context())
		g.end()
		f.wantSeen("room:1")
	})
}

// TestDrainWithoutNATS: a gateway without a connection, or without a bucket, goes all the same, and does not wait for what cannot be.
func TestDrainWithoutNATS(t *testing.T) {
	for name, c := range map[string]struct {
		lost func(f *fleet, g *fakeGateway)
		most time.Duration
	}{
		"no connection":      {func(f *fleet, g *fakeGateway) { g.away = true }, 800 * time.Millisecond},
		"no bucket any more": {func(f *fleet, g *fakeGateway) { f.absent = true }, 800 * time.Millisecond},
		"never registered":   {func(f *fleet, g *fakeGateway) { f.absent = true; g.Tracker = nil }, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
				f.set(func() { c.lost(f, g) })
				if g.Tracker == nil {
					g.end()
					g = f.start("g0", lingerFor)
					f.pass(time.Second)
				}
				g.join("c1", "room:1", ann)
				f.pass(time.Second)
				began := time.Now()
				g.Drain(500 * time.Millisecond)
				g.leave("c1", false)
				rest, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				g.Depart(rest)
				if d := time.Since(began); d > c.most {
					t.Fatalf("the end took %v, want at most %v", d, c.most)
				}
			})
		})
	}
}
