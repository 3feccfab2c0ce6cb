package presence

import (
	"testing"
	"time"
)

const lingerFor = 10 * time.Second

// ann is one of a user's channels; the same socket id comes back.
var ann = joining{socket: "user:1", key: "ann", meta: `{"name":"Ann"}`}

// TestReturn: a user who comes back to the same gateway in time finds its place, ref included, and the others see nothing.
func TestReturn(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		before := refsOf(f.state.Topic("room:1").Presences())
		g.heard()
		g.leave("c1", true)
		f.pass(5 * time.Second)
		f.wantSeen("room:1", `ann {"name":"Ann"}`)
		g.join("c2", "room:1", ann)
		f.pass(20 * time.Second)
		g.wantHeard("push c2 presence_state")
		if after := refsOf(f.state.Topic("room:1").Presences()); len(after) != 1 || after[0] != before[0] {
			t.Fatalf("%q came back as %q", before, after)
		}
		f.wantLists()
		g.leave("c2", false)
		f.pass(time.Second)
		f.wantSeen("room:1")
	})
}

// TestReturnAtOnce: the same, where the bucket could not be told that the user went.
func TestReturnAtOnce(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		g.heard()
		f.set(func() { g.away = true })
		g.leave("c1", true)
		f.pass(time.Second)
		g.join("c2", "room:1", ann)
		f.pass(time.Second)
		f.set(func() { g.away = false })
		f.pass(20 * time.Second)
		g.wantHeard("push c2 presence_state")
		f.wantLists()
	})
}

// TestReturnChanged: with another meta the others see one update.
func TestReturnChanged(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		g.heard()
		g.leave("c1", true)
		f.pass(time.Second)
		changed := ann
		changed.meta = `{"name":"Anna"}`
		g.join("c2", "room:1", changed)
		f.pass(20 * time.Second)
		g.wantHeard("broadcast room:1 presence_diff", "push c2 presence_state")
		f.wantSeen("room:1", `ann {"name":"Anna"}`)
		f.wantLists()
	})
}

// TestReturnOfTabs: each of a user's channels finds a place.
func TestReturnOfTabs(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", ann)
		g.join("c2", "room:1", ann)
		f.pass(time.Second)
		g.heard()
		g.leave("c1", true)
		g.leave("c2", true)
		f.pass(time.Second)
		g.join("c3", "room:1", ann)
		g.join("c4", "room:1", ann)
		f.pass(20 * time.Second)
		g.wantHeard("push c3 presence_state", "push c4 presence_state")
		f.wantSeen("room:1", `ann {"name":"Ann"}`, `ann {"name":"Ann"}`)
		f.wantLists()
		if len(g.entries.away) != 0 || len(g.entries.places) != 0 || len(g.entries.all) != 2 {
			t.Fatalf("%d away, %d places and %d entries are kept", len(g.entries.away), len(g.entries.places), len(g.entries.all))
		}
	})
}

// TestNoReturn: who does not come back, or is not known to be the same, is gone after PRESENCE_LINGER.
func TestNoReturn(t *testing.T) {
	for name, back := range map[string]*joining{
		"nobody": nil, "another key": {socket: "user:1", key: "bob"}, "another socket": {socket: "user:2", key: "ann"}, "no socket id": {key: "ann"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
				g.join("c1", "room:1", ann)
				f.pass(time.Second)
				g.leave("c1", true)
				var want []string
				if back != nil {
					g.join("c2", "room:1", *back)
					want = append(want, back.key+" {}")
				}
				f.pass(lingerFor - time.Second)
				f.wantSeen("room:1", append(want, `ann {"name":"Ann"}`)...)
				f.pass(2 * time.Second)
				f.wantSeen("room:1", want...)
			})
		})
	}
}

// TestLingerEnds: a second end, of a channel whose user will not be back, is an end at once; it means nothing where the place was taken, or the channel is unknown.
func TestLingerEnds(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		g.join("c2", "room:1", joining{key: "bob"})
		f.pass(time.Second)
		g.leave("c1", true)
		g.leave("c2", true)
		f.pass(time.Second)
		f.wantSeen("room:1", `ann {"name":"Ann"}`, "bob {}")
		g.leave("c2", false)
		f.pass(100 * time.Millisecond)
		f.wantSeen("room:1", `ann {"name":"Ann"}`)
		g.join("c3", "room:1", ann)
		g.leave("c1", false)
		g.leave("c2", false)
		f.pass(2 * lingerFor)
		f.wantSeen("room:1", `ann {"name":"Ann"}`)
		g.leave("c3", false)
		f.pass(time.Second)
		f.wantSeen("room:1")
	})
}

// TestReturnAnonymous: nobody can be known to be an anonymous socket's user.
func TestReturnAnonymous(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(time.Second)
		g.leave("c1", true)
		g.join("c2", "room:1", joining{key: "ann"})
		f.pass(time.Second)
		f.wantSeen("room:1", "ann {}", "ann {}")
		f.pass(lingerFor)
		f.wantSeen("room:1", "ann {}")
	})
}

// TestNoLinger: with PRESENCE_LINGER=0s everybody is gone at once.
func TestNoLinger(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		g.leave("c1", true)
		f.pass(100 * time.Millisecond)
		f.wantSeen("room:1")
	})
}

// TestReturnElsewhere: a user who comes back to another gateway takes the place over; the old gateway's linger ends without anybody's notice.
func TestReturnElsewhere(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		other := f.start("g1", lingerFor)
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		before := refsOf(f.state.Topic("room:1").Presences())
		g.heard()
		g.leave("c1", true)
		f.pass(time.Second)
		other.join("c2", "room:1", ann)
		f.pass(30 * time.Second)
		g.wantHeard()
		if after := refsOf(f.state.Topic("room:1").Presences()); len(after) != 1 || after[0] != before[0] {
			t.Fatalf("%q came back as %q", before, after)
		}
		e := other.entries.all["1"]
		if "ann/"+e.value.Ref != before[0] || !e.value.Settled {
			t.Fatalf("the gateway wrote %+v after it was told", e.value)
		}
		f.wantLists()
	})
}

// TestTookTooLate: what the service says of a ref that was replaced meanwhile is nothing.
func TestTookTooLate(t *testing.T) {
	bubble(t, lingerFor, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", ann)
		f.pass(time.Second)
		in, e := g.life.incarnation, g.entries.all["1"]
		ref, seq := e.value.Ref, f.seq
		for _, k := range []Took{
			{Incarnation: in, Entry: "1", Wrote: "other", Ref: "new"}, {Incarnation: in, Entry: "2", Wrote: ref, Ref: "new"}, {Incarnation: "g0=old", Entry: "1", Wrote: ref, Ref: "new"},
		} {
			g.Message(mustJSON(ToGateway{Took: &k}), nil)
		}
		f.pass(time.Second)
		if e.value.Ref != ref || f.seq != seq {
			t.Fatalf("the entry is %+v, the log at %d, want ref %s and %d", e.value, f.seq, ref, seq)
		}
	})
}
