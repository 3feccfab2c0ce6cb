package presence

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const merge = 50 * time.Millisecond

// TestFirstChangeGoesAtOnce, and what follows within the merge time is one diff.
func TestFirstChangeGoesAtOnce(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.wantSent("diff room:1 0-2-2 +1 -0")
	d.put("g1=a", "e2", "room:1", "bob")
	d.put("g1=a", "e3", "room:1", "eve")
	d.put("g1=a", "e4", "room:2", "eve")
	d.wantSent("diff room:2 0-5-5 +1 -0")
	d.pass(merge)
	d.wantSent("diff room:1 2-3-4 +2 -0")
	d.put("g1=a", "e5", "room:1", "joe") // 50 ms since the last diff are not over
	d.wantSent()
	d.pass(2 * merge)
	d.wantSent("diff room:1 4-6-6 +1 -0")
	d.untrack("g1=a", "e5", "room:1")
	d.wantSent("diff room:1 6-7-7 +0 -1")
}

// TestWhatCameAndWent is an empty diff: views must get beyond it.
func TestWhatCameAndWent(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.put("g1=a", "e2", "room:1", "bob")
	d.untrack("g1=a", "e2", "room:1")
	d.forget()
	d.pass(merge)
	d.wantSent("diff room:1 2-3-4 +0 -0")
}

func TestNoMerge(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	for i := range 3 {
		d.put("g1=a", fmt.Sprint("e", i), "room:1", fmt.Sprint("k", i))
	}
	d.wantSent("diff room:1 0-2-2 +1 -0", "diff room:1 2-3-3 +1 -0", "diff room:1 3-4-4 +1 -0")
}

// TestDiffTooLarge: gateways are told to compare, and get the topic in parts.
func TestDiffTooLarge(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.max = 80
	d.put("g1=a", "e1", "room:1", "ann")
	d.put("g1=a", "e2", "room:1", "bob")
	d.put("g1=a", "e3", "room:1", "eve")
	d.pass(merge)
	d.wantSent("diff room:1 0-2-2 +1 -0", "sync 1")
}

// TestOnlyOwnersEmit: another's topics are settled, so that a later owner does not tell old news; what is due when a partition is lost is told before.
func TestOnlyOwnersEmit(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.put("g1=a", "e2", "room:1", "bob")
	d.forget()
	other := otherThatOwns(t, Partition("room:1"))
	d.s.Beat(mustJSON(Beat{ID: other, Ready: true}))
	d.work()
	d.wantSent("diff room:1 2-3-3 +1 -0")
	d.put("g1=a", "e3", "room:1", "eve")
	d.wantSent()
	if d.s.state.Topic("room:1").Pending() {
		t.Error("a change of another's topic is kept")
	}
	d.s.Check(Partition("room:1"), mustJSON(Check{Gateway: "g1", Topics: []CheckTopic{{Topic: "room:1"}}}))
	d.work()
	d.wantSent()
	d.pass(replicaGone + houseEvery) // the other is silent
	if len(d.sent) != 1 {
		t.Errorf("at the takeover: %q", d.sent)
	}
	d.forget()
	d.put("g1=a", "e4", "room:1", "joe")
	d.wantSent("diff room:1 4-5-5 +1 -0")
}

// otherThatOwns is the id of a replica to which a partition goes beside "self".
func otherThatOwns(t *testing.T, partition int) string {
	t.Helper()
	for i := range 1000 {
		id := fmt.Sprint("other", i)
		if weight(id, partition) > weight("self", partition) {
			return id
		}
	}
	t.Fatal("no such id")
	return ""
}

// TestLeave: at the end what is due is told, and then that this replica goes.
func TestLeave(t *testing.T) {
	d := newDesk(t, time.Hour)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.put("g1=a", "e2", "room:1", "bob")
	d.forget()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d.s.Run(ctx)
	d.wantSent("diff room:1 2-3-3 +1 -0", "leaving")
	if d.s.Ready() {
		t.Error("it is ready still")
	}
	for range queueCount + 1 {
		d.s.Skipped(9) // nobody takes it, and nobody waits for that
	}
}

// TestUnloaded: without the bucket this replica owns nothing and says nothing, and lists are refused.
func TestUnloaded(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.put("g1=a", "e2", "room:1", "bob")
	d.forget()
	d.s.Unloaded()
	d.work()
	d.wantSent("diff room:1 2-3-3 +1 -0")
	d.put("g1=a", "e3", "room:1", "eve")
	d.pass(5 * time.Second)
	d.wantSent()
	if list := d.list("room:1", ""); list != `{"error":"unavailable"}` || d.s.Ready() {
		t.Errorf("list %s, ready %t", list, d.s.Ready())
	}
	d.s.Loaded(8, nil, 0)
	d.work()
	d.wantSent("sync 64")
	if list := d.list("room:1", ""); list != `{}` || !d.s.Ready() {
		t.Errorf("list %s, ready %t", list, d.s.Ready())
	}
}

// TestBadRecord: it is left out and counted.
func TestBadRecord(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.record(Record{Incarnation: "g1=a", Entry: "e1", Topic: "room:1", Value: []byte(`{"key":"ann"}`)})
	d.put("g1=a", "e2", "room:1", "bob")
	d.wantSent("diff room:1 0-3-3 +1 -0")
	if n := d.s.stats.dropped.Load(); n != 1 {
		t.Errorf("%d records counted as bad", n)
	}
}
