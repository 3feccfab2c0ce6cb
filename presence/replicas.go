package presence

import (
	"hash/fnv"
	"slices"
	"time"
)

// How replicas of the service know of each other.
const (
	replicaBeat = 300 * time.Millisecond  // between two signs of life
	replicaGone = 1200 * time.Millisecond // of silence: takeover is within two seconds
)

// Beat is a replica's sign of life.
type Beat struct {
	ID string `json:"id"`
	// Ready: it has loaded the bucket and can own partitions.
	Ready bool `json:"ready"`
	// Leaving: it stops now, and owns nothing any more.
	Leaving bool `json:"leaving,omitempty"`
}

// replicas is who is alive, and so who owns what. It has no clock of its own.
type replicas struct {
	self  string
	ready bool
	seen  map[string]time.Time // ready ones beside this
}

func newReplicas(self string) *replicas { return &replicas{self: self, seen: map[string]time.Time{}} }

// beat takes another's sign of life.
func (r *replicas) beat(b Beat, now time.Time) {
	switch {
	case b.ID == r.self:
	case b.Ready && !b.Leaving:
		r.seen[b.ID] = now
	default:
		delete(r.seen, b.ID)
	}
}

// expire forgets the silent.
func (r *replicas) expire(now time.Time) {
	for id, at := range r.seen {
		if now.Sub(at) >= replicaGone {
			delete(r.seen, id)
		}
	}
}

// owned is which partitions are this replica's: each belongs to the one whose hash with it is the highest (rendezvous hashing), so that a change moves no more than it must.
func (r *replicas) owned() (mine [Partitions]bool) {
	if !r.ready {
		return mine
	}
	for p := range Partitions {
		best, bestID := weight(r.self, p), r.self
		for id := range r.seen {
			if w := weight(id, p); w > best || w == best && id > bestID {
				best, bestID = w, id
			}
		}
		mine[p] = bestID == r.self
	}
	return mine
}

// weight is the hash of a replica and a partition, mixed so that neighbours differ (the finalizer of MurmurHash3).
func weight(id string, partition int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	h.Write([]byte{0, byte(partition)})
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// gained is the partitions that are owned now and were not before.
func gained(before, now [Partitions]bool) (list []int) {
	for p := range Partitions {
		if now[p] && !before[p] {
			list = append(list, p)
		}
	}
	return slices.Clip(list)
}
