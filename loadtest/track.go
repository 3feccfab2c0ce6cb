package main

import "math/bits"

// track is which broadcasts one member has received. Broadcasts are numbered from 0.
type track struct {
	next    uint32 // above all received
	missing uint32 // below next and not received
	recent  uint64 // bit i: next-1-i was received
}

// arrival is what a received broadcast turned out to be.
type arrival uint8

const (
	inOrder   arrival = iota // above all before it, though some between may be missing
	late                     // its turn had passed: out of order
	duplicate                // received before
)

// arrive notes a broadcast.
func (t *track) arrive(seq uint32) arrival {
	if seq >= t.next {
		gap := seq - t.next
		// A shift by 64 or more leaves 0, as it should.
		t.recent = t.recent<<(uint64(gap)+1) | 1
		t.missing += gap
		t.next = seq + 1
		return inOrder
	}
	if age := t.next - 1 - seq; age < 64 {
		if bit := uint64(1) << age; t.recent&bit != 0 {
			return duplicate
		} else {
			t.recent |= bit
		}
	} else if t.missing == t.recentMissing() {
		return duplicate // none that old is missing
	}
	// Of those older than the bits can tell, one that comes while one is missing is taken for that one.
	t.missing--
	return late
}

// recentMissing is how many of the last 64 are missing.
func (t *track) recentMissing() uint32 {
	return min(64, t.next) - uint32(bits.OnesCount64(t.recent))
}

// lost is how many of the first sent broadcasts have not come.
func (t *track) lost(sent uint32) int64 {
	return int64(t.missing) + int64(sent) - int64(t.next)
}
