package main

import (
	"sync"
	"sync/atomic"
)

// flightRing is how many broadcasts may lie between the oldest that is on its way and the next.
const flightRing = 1 << 16

// flight is the broadcasts that are on their way. A broadcast is complete when every member has received it, and given
// up when it is not after a while: then it is on its way no longer, and its missing copies count as lost.
type flight struct {
	remaining [flightRing]atomic.Int32 // by sequence number: members that have not received it; below 0: given up
	sent      atomic.Uint32            // numbers below were published
	oldest    atomic.Uint32            // numbers below are complete or given up; oldest <= sent
	completed atomic.Uint32

	mu      sync.Mutex // a member leaves before or after a broadcast is added, not in between
	members int32      // guarded by mu

	// Owned by the loop that publishes.
	sentAt  [flightRing]int64 // by sequence number
	givenUp uint32
}

// gaveUp is what remaining is set to: no number of members brings it to 0.
const gaveUp = -1 << 30

// setMembers says how many are to receive what is added from now on.
func (f *flight) setMembers(n int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members = n
}

// add enters the next broadcast, sent at the given time, and returns its number. It must not be called when full.
func (f *flight) add(at int64) (seq uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seq = f.sent.Load()
	f.sentAt[seq%flightRing] = at
	f.remaining[seq%flightRing].Store(f.members)
	f.sent.Store(seq + 1)
	return seq
}

// full says that the ring has no room: the oldest broadcast must complete, or be given up, first.
func (f *flight) full() bool { return f.sent.Load()-f.oldest.Load() >= flightRing }

// inFlight is how many are on their way. Only the publishing loop may ask.
func (f *flight) inFlight() int { return int(f.sent.Load() - f.completed.Load() - f.givenUp) }

// arrived notes that one more member has received a broadcast. It says whether that completed it.
func (f *flight) arrived(seq uint32) (complete bool) {
	if seq < f.oldest.Load() {
		return false // given up, and its place in the ring may be another's
	}
	if f.remaining[seq%flightRing].Add(-1) != 0 {
		return false
	}
	f.completed.Add(1)
	return true
}

// expire moves oldest on, and gives up what was sent before the given time.
func (f *flight) expire(before int64) {
	seq, sent := f.oldest.Load(), f.sent.Load()
	for ; seq != sent; seq++ {
		slot := &f.remaining[seq%flightRing]
		if slot.Load() == 0 {
			continue
		}
		if f.sentAt[seq%flightRing] >= before {
			break
		}
		if slot.Swap(gaveUp) != 0 {
			f.givenUp++
		}
	}
	f.oldest.Store(seq)
}

// leave takes a member out: nothing more is expected of it. What it has not received so far counts as lost.
func (f *flight) leave(t *track) (complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members--
	sent := f.sent.Load()
	for seq := max(t.next, f.oldest.Load()); seq < sent; seq++ {
		if f.arrived(seq) {
			complete = true
		}
	}
	// Older ones that it misses are given up in time.
	t.missing, t.next = uint32(t.lost(sent)), sent
	return complete
}
