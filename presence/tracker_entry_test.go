package presence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// attempts is the changes that a gateway handed to the bus, without their ids: "<entry> <key>", and how many ids there were.
func (g *fakeGateway) attempts() (changes []string, ids int) {
	g.fleet.mu.Lock()
	defer g.fleet.mu.Unlock()
	seen := map[string]bool{}
	for _, s := range g.stores {
		id, change, _ := strings.Cut(s, " ")
		seen[id] = true
		changes = append(changes, change)
	}
	return changes, len(seen)
}

func (g *fakeGateway) wantAttempts(ids int, want ...string) {
	g.fleet.t.Helper()
	got, n := g.attempts()
	if !slices.Equal(got, want) || n != ids {
		g.fleet.t.Fatalf("%s handed over %q under %d ids, want %q under %d", g.id, got, n, want, ids)
	}
}

// bubble runs a test of one gateway, which is registered when it begins.
func bubble(t *testing.T, linger time.Duration, test func(t *testing.T, f *fleet, g *fakeGateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := startFleet(t, 1, linger)
		f.pass(100 * time.Millisecond)
		test(t, f, f.gateways["g0"])
	})
}

// TestAckLost: a change whose acknowledgement is lost is stored again under its own id, and so is no second change.
func TestAckLost(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.loseAcks = 2 })
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(10 * time.Second)
		g.wantAttempts(1, "1 ann", "1 ann", "1 ann")
		f.wantSeen("room:1", "ann {}")
		if f.seq != 2 {
			t.Fatalf("the log has %d records, want the registration and one entry", f.seq)
		}
		f.wantLists()
	})
}

// TestStoreLost: a change that never reached the bucket is stored again.
func TestStoreLost(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.loseStores = 3 })
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(20 * time.Second)
		g.wantAttempts(1, "1 ann", "1 ann", "1 ann", "1 ann")
		f.wantLists()
	})
}

// TestLeaveBeforeAck: a removal does not overtake the change that is under way.
func TestLeaveBeforeAck(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.loseStores = 1 })
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(time.Millisecond)
		g.leave("c1", false)
		f.pass(time.Second)
		g.wantAttempts(1, "1 ann")
		f.pass(10 * time.Second)
		g.wantAttempts(2, "1 ann", "1 ann", "1 -")
		f.wantSeen("room:1")
	})
}

// TestLeaveBeforeStore: of what came and went while nothing could be stored, nothing is.
func TestLeaveBeforeStore(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { g.away = true })
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(time.Second)
		g.leave("c1", false)
		f.pass(time.Second)
		f.set(func() { g.away = false })
		f.pass(time.Second)
		g.wantAttempts(0)
		if n := len(g.entries.all); n != 0 {
			t.Fatalf("%d entries are kept of channels that are gone", n)
		}
	})
}

// TestUpdatesMerge: of many updates while one change is under way the last is stored, and says which ref clients saw before.
func TestUpdatesMerge(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.loseAcks = 1 })
		g.join("c1", "room:1", joining{key: "ann", meta: `{"name":"Ann"}`})
		f.pass(time.Millisecond)
		first := f.state.Topic("room:1").Presences()["ann"][0].Ref
		for i := range 100 {
			g.Update("c1", []string{"n"}, fmt.Appendf(nil, `{"n":%d,"name":"Eve"}`, i), func(err error) {
				if err != nil {
					t.Errorf("update: %v", err)
				}
			})
		}
		f.pass(10 * time.Second)
		g.wantAttempts(2, "1 ann", "1 ann", "1 ann")
		f.wantSeen("room:1", `ann {"n":99,"name":"Ann"}`)
		if meta := f.state.Topic("room:1").Presences()["ann"][0].JSON; !strings.Contains(string(meta), `"phx_ref_prev":"`+first+`"`) {
			t.Fatalf("the meta is %s, want %s as its previous ref", meta, first)
		}
		f.wantLists()
	})
}

// TestUpdateRefused: what cannot be is said at once and changes nothing.
func TestUpdateRefused(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{key: "ann", meta: `{"n":1}`})
		g.join("c2", "room:1", joining{})
		f.pass(time.Second)
		for _, c := range []struct {
			channel, changes string
			want             error
		}{
			{"c2", `{"n":2}`, ErrNotTracked}, {"c3", `{"n":2}`, ErrNotTracked}, {"c1", `[2]`, ErrInvalidMeta},
			{"c1", `{"n":"` + strings.Repeat("x", MaxMeta) + `"}`, ErrInvalidMeta},
		} {
			got := make(chan error, 1)
			g.Update(c.channel, []string{"n"}, []byte(c.changes), func(err error) { got <- err })
			f.pass(time.Millisecond)
			if err := <-got; err != c.want {
				t.Errorf("%s, %.20s: %v, want %v", c.channel, c.changes, err, c.want)
			}
		}
		g.wantAttempts(1, "1 ann")
	})
}

// TestWindow: no more than the window is under way, and what is repeated does not wait for all that is new.
func TestWindow(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.loseStores = storeWindow })
		for i := range 3 * storeWindow {
			g.join(fmt.Sprintf("c%d", i), fmt.Sprintf("room:%d", i/4), joining{key: fmt.Sprintf("u%d", i)})
		}
		f.pass(time.Second)
		if got, _ := g.attempts(); len(got) != storeWindow {
			t.Fatalf("%d changes are under way, want %d", len(got), storeWindow)
		}
		f.pass(10 * time.Second)
		if got, ids := g.attempts(); len(got) != 4*storeWindow || ids != 3*storeWindow {
			t.Fatalf("%d attempts under %d ids, want %d under %d", len(got), ids, 4*storeWindow, 3*storeWindow)
		}
		f.wantLists()
	})
}

// TestNoBucket: nothing is tried but the registration, now and then, until there is a bucket.
func TestNoBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFleet(t, 0, 0)
		f.absent = true
		g := f.start("g0", 0)
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(10 * time.Second)
		g.wantAttempts(0)
		if n := g.life.op; n < 5 || n > 50 {
			t.Fatalf("registered %d times in 10 s", n)
		}
		f.set(func() { f.absent = false })
		f.pass(3 * time.Second)
		g.wantAttempts(1, "1 ann")
		f.wantLists()
	})
}

// TestBucketGone: what changes while the bucket is gone for a time is stored when it is back.
func TestBucketGone(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(time.Second)
		f.set(func() { f.absent = true })
		g.leave("c1", false)
		g.join("c2", "room:1", joining{key: "bob"})
		f.pass(10 * time.Second)
		f.wantSeen("room:1", "ann {}")
		f.set(func() { f.absent = false })
		f.pass(2 * time.Second)
		f.wantSeen("room:1", "bob {}")
		f.wantLists()
	})
}
