package presence

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestJoinerSeesItself: presence_state waits until the joiner's own entry is in the view.
func TestJoinerSeesItself(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		g.wantHeard("push w presence_state")
		f.set(func() { f.muted, f.deaf = true, true })
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(5 * time.Second)
		g.wantHeard()
		f.set(func() { f.muted, f.deaf = false, false })
		f.pass(5 * time.Second)
		g.wantHeard("broadcast room:1 presence_diff", "push c1 presence_state")
		f.wantLists()
	})
}

// TestWatcher: one that only watches is told at once where the view is known, and nobody is asked.
func TestWatcher(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(time.Second)
		g.heard()
		n := len(g.checks)
		g.join("w", "room:1", joining{})
		f.pass(time.Millisecond)
		g.wantHeard("push w presence_state")
		if len(g.checks) != n {
			t.Fatalf("asked %v", g.checks[n:])
		}
		f.wantLists()
	})
}

// TestOwnDiff: who joins is told its own join, too, though the view is not known yet when the diff comes.
func TestOwnDiff(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.slowState = true })
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(10 * time.Second)
		said := strings.Join(g.heard(), ", ")
		if !strings.Contains(said, "broadcast room:1 presence_diff") || !strings.Contains(said, "push c1 presence_state") {
			t.Fatalf("c1 was told %s", said)
		}
		f.wantLists()
	})
}

// TestDiffLost: where a diff is missing the view is compared with the owner's, and clients are told the difference.
func TestDiffLost(t *testing.T) {
	for name, shows := range map[string]func(f *fleet, g *fakeGateway){
		"the next diff shows it":      func(f *fleet, g *fakeGateway) { g.join("c3", "room:1", joining{key: "cat"}) },
		"a gap":                       func(f *fleet, g *fakeGateway) { g.Gap() },
		"another owner":               func(f *fleet, g *fakeGateway) { g.Sync(mustJSON(Sync{Partitions: []int{Partition("room:1")}})) },
		"another owner, in odd words": func(f *fleet, g *fakeGateway) { g.Sync([]byte(`{"partitions":[-1,99]}`)); g.Sync([]byte(`?`)); g.Gap() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
				g.join("w", "room:1", joining{})
				g.join("c1", "room:1", joining{key: "ann"})
				f.pass(time.Second)
				f.set(func() { f.muted = true })
				g.leave("c1", false)
				g.join("c2", "room:1", joining{key: "bob"})
				f.pass(20 * time.Millisecond)
				f.set(func() { f.muted = false })
				shows(f, g)
				f.pass(3 * time.Second)
				f.wantLists()
			})
		})
	}
}

// TestSyncOfOthers: nobody is asked about topics of other partitions.
func TestSyncOfOthers(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		n := len(g.checks)
		g.Sync(mustJSON(Sync{Partitions: []int{(Partition("room:1") + 1) % Partitions}}))
		g.Sync(mustJSON(Sync{Partitions: []int{}}))
		f.pass(time.Second)
		if len(g.checks) != n {
			t.Fatalf("asked %v", g.checks[n:])
		}
	})
}

// TestDiffLostInFirstCheck: clients were told a join before the view was known, and the leave was lost: the state alone would leave a ghost, since phoenix.js plays the join over it.
func TestDiffLostInFirstCheck(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		other := f.start("g1", 0)
		f.pass(time.Second)
		f.set(func() { f.deaf = true })
		g.join("w", "room:1", joining{})
		f.pass(10 * time.Millisecond)
		other.join("c1", "room:1", joining{key: "ann"})
		other.join("c2", "room:1", joining{key: "bob"})
		f.pass(10 * time.Millisecond)
		g.wantHeard("broadcast room:1 presence_diff", "broadcast room:1 presence_diff")
		f.set(func() { f.muted = true })
		other.leave("c1", false)
		f.pass(10 * time.Millisecond)
		f.set(func() { f.muted, f.deaf = false, false })
		g.Gap()
		f.pass(5 * time.Second)
		f.wantLists()
	})
}

// TestAskAgain: a check that is not answered is sent again, less and less often.
func TestAskAgain(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.deaf = true })
		g.join("w", "room:1", joining{})
		f.pass(60 * time.Second)
		if n := len(g.checks); n < 30 || n > 34 {
			t.Fatalf("asked %d times in 60 s", n)
		}
		f.set(func() { f.deaf = false })
		f.pass(3 * time.Second)
		g.wantHeard("push w presence_state")
		n := len(g.checks)
		f.pass(time.Minute)
		if len(g.checks) != n {
			t.Fatalf("asked %d times more", len(g.checks)-n)
		}
	})
}

// TestAnswerBehind: an answer from an owner that is behind what was seen, in the view or in a diff that came meanwhile, is not taken.
func TestAnswerBehind(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		f.set(func() { f.deaf = true })
		g.join("w", "room:1", joining{})
		g.join("c1", "room:1", joining{key: "ann"})
		f.pass(100 * time.Millisecond)
		old := TopicState{Topic: "room:1", Epoch: f.state.Epoch(), Rev: f.state.Applied() - 1, Parts: 1, Presences: []byte(`{}`)}
		g.heard()
		g.Message(mustJSON(ToGateway{States: []TopicState{old}}), nil)
		f.pass(100 * time.Millisecond)
		g.wantHeard()
		f.set(func() { f.deaf = false })
		f.pass(3 * time.Second)
		f.wantLists()
		g.heard()
		g.Message(mustJSON(ToGateway{States: []TopicState{old}}), nil)
		f.set(func() { f.deaf = true })
		g.Gap()
		f.pass(time.Millisecond)
		g.leave("c1", false) // its diff comes during the comparison
		f.pass(100 * time.Millisecond)
		old.Rev = f.state.Applied() - 1
		g.Message(mustJSON(ToGateway{States: []TopicState{old}}), nil)
		f.pass(100 * time.Millisecond)
		g.wantHeard()
		f.set(func() { f.deaf = false })
		f.pass(3 * time.Second)
		g.wantHeard("broadcast room:1 presence_diff")
		old.Rev, old.Same, old.Hash = f.state.Applied(), true, 17
		g.Message(mustJSON(ToGateway{States: []TopicState{old}}), nil)
		f.pass(time.Second)
		g.wantHeard()
		f.wantLists()
	})
}

// TestParts: a state in parts counts when it is whole.
func TestParts(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		other := f.start("g1", 0)
		f.pass(time.Second)
		for i := range 50 {
			other.join(fmt.Sprintf("c%d", i), "room:1", joining{key: fmt.Sprintf("u%d", i)})
		}
		f.pass(time.Second)
		f.set(func() { f.partBytes = 300 })
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		f.wantLists()

		// One whose middle is missing does not count.
		state := func(part int, rev uint64) []byte {
			return mustJSON(ToGateway{States: []TopicState{{Topic: "room:1", Epoch: 1, Rev: rev, Part: part, Parts: 3, Presences: []byte(`{}`)}}})
		}
		g.heard()
		for _, m := range [][]byte{state(0, 1000), state(2, 1000), state(1, 1000), state(0, 1000), state(1, 1001), state(2, 1000)} {
			g.Message(m, nil)
		}
		f.pass(time.Second)
		g.wantHeard()
	})
}

// TestLargeDifference: what a comparison brings is told in pieces.
func TestLargeDifference(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		other := f.start("g1", 0)
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		g.heard()
		f.set(func() { f.muted = true })
		for i := range 64 {
			other.join(fmt.Sprintf("c%d", i), "room:1", joining{key: fmt.Sprintf("u%d", i), meta: `{"x":"` + strings.Repeat("x", 3<<10) + `"}`})
		}
		f.pass(time.Second)
		f.set(func() { f.muted = false })
		g.Gap()
		f.pass(time.Second)
		if n := len(g.heard()); n != 4 {
			t.Fatalf("192 KiB of difference were told in %d pieces, want 4", n)
		}
		f.wantLists()
	})
}

// TestUnwatched: a diff of a topic that nobody watches goes on as any broadcast, unless it says nothing; so does none of a topic that is watched no more.
func TestUnwatched(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		stamp := mustJSON(Stamp{Epoch: 1, After: 5, First: 6, Rev: 6})
		g.Diff("room:1", []byte(`{"joins":{},"leaves":{}}`), stamp)
		f.pass(time.Millisecond)
		g.wantHeard()
		g.Diff("room:1", []byte(`{"joins":{"ann":{"metas":[{"phx_ref":"r"}]}},"leaves":{}}`), stamp)
		f.pass(time.Millisecond)
		g.wantHeard("broadcast room:1 presence_diff")
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		g.leave("w", false)
		f.pass(time.Second)
		if len(g.topics) != 0 || len(g.checks) != 1 || len(g.channels) != 0 {
			t.Fatalf("%d views, %d checks and %d channels are kept", len(g.topics), len(g.checks), len(g.channels))
		}
	})
}

// TestBadDiff: one that makes no sense does not go to clients; the view is compared.
func TestBadDiff(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("w", "room:1", joining{})
		f.pass(time.Second)
		g.heard()
		rev := f.state.Applied()
		stamp := mustJSON(Stamp{Epoch: 1, After: rev, First: rev + 1, Rev: rev + 1})
		for _, payload := range []string{`{}`, `{"joins":{"ann":{"metas":[{}]}},"leaves":{}}`, `{"joins":[],"leaves":{}}`} {
			n := len(g.checks)
			g.Diff("room:1", []byte(payload), stamp)
			f.pass(time.Second)
			g.wantHeard()
			if len(g.checks) != n+1 {
				t.Fatalf("%s: asked %d times", payload, len(g.checks)-n)
			}
		}
		g.Diff("room:1", []byte(`{"joins":{},"leaves":{}}`), []byte(`"no stamp"`))
		g.Message([]byte(`nonsense`), nil)
		g.Message([]byte(`{}`), nil)
		f.pass(time.Second)
		if n := g.stats.bad.Load(); n != 5 {
			t.Fatalf("%d messages that make no sense were counted, want 5", n)
		}
		f.wantLists()
	})
}

// TestCheckBatches: after a gap all topics of a partition are asked about in few messages.
func TestCheckBatches(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		const topics = 2000
		for i := range topics {
			g.join(fmt.Sprintf("c%d", i), fmt.Sprintf("room:%d", i), joining{})
		}
		f.pass(time.Second)
		n, asked := len(g.checks), g.asked
		g.Gap()
		f.pass(3 * time.Second)
		if got := len(g.checks) - n; got != topics {
			t.Fatalf("%d topics were compared, want %d", got, topics)
		}
		if got := g.asked - asked; got > Partitions {
			t.Fatalf("in %d messages, want at most %d", got, Partitions)
		}
	})
}

// TestCounts: a topic whose rule says how many are there: a joiner is told at once, the others at most once a second, and only what changed.
func TestCounts(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		other := f.start("g1", 0)
		f.pass(100 * time.Millisecond)
		other.join("c0", "hall:1", joining{key: "u0", counted: true})
		f.pass(3 * time.Second)
		g.heard()
		g.join("w", "hall:1", joining{counted: true})
		f.pass(3 * time.Second)
		g.wantHeard(`push w presence_count {"count":1}`)
		for i := 1; i <= 20; i++ {
			other.join(fmt.Sprintf("c%d", i), "hall:1", joining{key: fmt.Sprintf("u%d", i), counted: true})
			f.pass(100 * time.Millisecond)
		}
		f.pass(3 * time.Second)
		said := g.heard()
		if len(said) < 2 || len(said) > 4 || said[len(said)-1] != `broadcast hall:1 presence_count {"count":21}` {
			t.Fatalf("20 joins in 2 s were told as %q", said)
		}
		// One comes as another goes, and a second tab of one who is there: the same number.
		other.leave("c1", false)
		other.join("c21", "hall:1", joining{key: "u21", counted: true})
		other.join("c22", "hall:1", joining{key: "u2", counted: true})
		f.pass(3 * time.Second)
		g.wantHeard()
		g.join("late", "hall:1", joining{counted: true})
		f.pass(10 * time.Millisecond)
		g.wantHeard(`push late presence_count {"count":21}`)
	})
}

// TestCountsAndLists: where a reloaded rule leaves channels of both kinds on a topic, each is told what it joined for.
func TestCountsAndLists(t *testing.T) {
	bubble(t, 0, func(t *testing.T, f *fleet, g *fakeGateway) {
		g.join("lists", "hall:1", joining{})
		f.pass(time.Second)
		g.join("counts", "hall:1", joining{counted: true})
		f.pass(2 * time.Second)
		g.heard()
		g.join("c1", "hall:1", joining{key: "ann"})
		f.pass(3 * time.Second)
		if got := f.gateways["g0"].joined["counts"].counts; len(got) == 0 || got[len(got)-1] != `{"count":1}` {
			t.Fatalf("the one that counts was told %q", got)
		}
		if got := describe(g.joined["lists"].list); len(got) != 1 {
			t.Fatalf("the one that lists has %q", got)
		}
	})
}
