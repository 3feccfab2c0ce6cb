package presence

import (
	"testing"
	"time"
)

// owners is who owns each partition; "" where nobody does, or more than one.
func owners(t *testing.T, all map[string]*replicas) (list [Partitions]string) {
	t.Helper()
	for id, r := range all {
		for p, mine := range r.owned() {
			if mine && list[p] != "" {
				t.Fatalf("partition %d is owned by %s and %s", p, list[p], id)
			}
			if mine {
				list[p] = id
			}
		}
	}
	return list
}

// hear lets every replica hear of every other.
func hear(all map[string]*replicas, now time.Time) {
	for id, from := range all {
		for _, to := range all {
			to.beat(Beat{ID: id, Ready: from.ready}, now)
		}
	}
}

func ready(ids ...string) map[string]*replicas {
	all := map[string]*replicas{}
	for _, id := range ids {
		all[id] = newReplicas(id)
		all[id].ready = true
	}
	return all
}

// TestEachPartitionHasOneOwner: replicas that know the same agree, and each has its share.
func TestEachPartitionHasOneOwner(t *testing.T) {
	all := ready("a", "b", "c", "d")
	hear(all, time.Unix(1, 0))
	share := map[string]int{}
	for p, id := range owners(t, all) {
		if id == "" {
			t.Errorf("nobody owns partition %d", p)
		}
		share[id]++
	}
	for id := range all {
		if share[id] < Partitions/16 {
			t.Errorf("%s owns %d of %d partitions", id, share[id], Partitions)
		}
	}
}

// TestFewPartitionsMove: when a replica goes, only its own change hands.
func TestFewPartitionsMove(t *testing.T) {
	all := ready("a", "b", "c")
	hear(all, time.Unix(1, 0))
	before := owners(t, all)
	delete(all, "b")
	for _, r := range all {
		r.beat(Beat{ID: "b", Ready: true, Leaving: true}, time.Unix(1, 0))
	}
	moved := 0
	for p, id := range owners(t, all) {
		switch {
		case before[p] == "b":
			moved++
		case id != before[p]:
			t.Errorf("partition %d went from %s to %s", p, before[p], id)
		}
		if id == "" {
			t.Errorf("nobody owns partition %d", p)
		}
	}
	if moved == 0 {
		t.Error("b owned nothing")
	}
}

func TestSilentReplicaIsGone(t *testing.T) {
	now := time.Unix(1, 0)
	all := ready("a", "b")
	hear(all, now)
	a := all["a"]
	shared := a.owned()
	a.expire(now.Add(replicaGone - time.Millisecond))
	if a.owned() != shared {
		t.Error("a replica was given up too early")
	}
	a.expire(now.Add(replicaGone))
	for p, mine := range a.owned() {
		if !mine {
			t.Errorf("partition %d is nobody's", p)
		}
	}
	if n := len(gained(shared, a.owned())); n == 0 || n == Partitions {
		t.Errorf("%d partitions were taken over", n)
	}
}

// TestNotReadyOwnsNothing: neither this replica nor another that has not loaded the bucket.
func TestNotReadyOwnsNothing(t *testing.T) {
	r := newReplicas("a")
	if r.owned() != [Partitions]bool{} {
		t.Error("it owns something before it is ready")
	}
	r.ready = true
	alone := r.owned()
	if len(gained([Partitions]bool{}, alone)) != Partitions {
		t.Error("it does not own everything alone")
	}
	for _, b := range []Beat{{ID: "b"}, {ID: "a", Ready: true}, {ID: "b", Ready: true, Leaving: true}} {
		if r.beat(b, time.Unix(1, 0)); r.owned() != alone {
			t.Errorf("%+v took partitions away", b)
		}
	}
	r.beat(Beat{ID: "b", Ready: true}, time.Unix(1, 0))
	shared := r.owned()
	if r.beat(Beat{ID: "b"}, time.Unix(1, 0)); shared == alone || r.owned() != alone {
		t.Error("a replica that is ready no more keeps partitions")
	}
}
