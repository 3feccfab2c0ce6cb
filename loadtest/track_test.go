package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTrackAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		// Broadcasts 0..n, some dropped, some twice, none displaced further than the bits of a track reach.
		const sent = 500
		var arrivals []uint32
		for seq := range uint32(sent) {
			for range [...]int{1, 1, 1, 1, 0, 2}[random.IntN(6)] {
				arrivals = append(arrivals, seq)
			}
		}
		place := make(map[int]uint32)
		for i, seq := range arrivals {
			place[(int(seq)+random.IntN(30))*len(arrivals)+i] = seq
		}
		arrivals = arrivals[:0]
		for _, key := range slices.Sorted(maps.Keys(place)) {
			arrivals = append(arrivals, place[key])
		}
		var tr track
		seen, highest := map[uint32]bool{}, -1
		for i, seq := range arrivals {
			want := inOrder
			switch {
			case seen[seq]:
				want = duplicate
			case int(seq) < highest:
				want = late
			}
			if got := tr.arrive(seq); got != want {
				t.Fatalf("seed %d: %d after %v is %d, want %d", seed, seq, arrivals[max(0, i-70):i], got, want)
			}
			seen[seq], highest = true, max(highest, int(seq))
		}
		if got, want := tr.lost(sent), int64(sent-len(seen)); got != want {
			t.Fatalf("seed %d: lost %d, want %d", seed, got, want)
		}
	}
}

func TestTrackBeyondItsBits(t *testing.T) {
	var tr track
	for seq := range uint32(300) {
		if seq != 10 {
			tr.arrive(seq)
		}
	}
	// The one that is missing, then none is: the same number again can only be a duplicate.
	got := []arrival{tr.arrive(10), tr.arrive(10), tr.arrive(11)}
	if want := []arrival{late, duplicate, duplicate}; !slices.Equal(got, want) || tr.lost(300) != 0 {
		t.Errorf("got %v, lost %d, want %v and 0", got, tr.lost(300), want)
	}
	if a := tr.arrive(1000); a != inOrder || tr.lost(1001) != 700 {
		t.Errorf("after a jump: %d, lost %d, want in order and 700", a, tr.lost(1001))
	}
}

func TestFlight(t *testing.T) {
	f := &flight{}
	f.setMembers(2)
	for at := range int64(3) {
		f.add(at)
	}
	wantInFlight := func(step string, want int) {
		t.Helper()
		if got := f.inFlight(); got != want {
			t.Errorf("%s: %d in flight, want %d", step, got, want)
		}
	}
	wantInFlight("three sent", 3)
	if f.arrived(1) || !f.arrived(1) {
		t.Error("the second of two arrivals must complete broadcast 1, not the first")
	}
	wantInFlight("1 complete", 2)
	if f.expire(0); f.oldest.Load() != 0 {
		t.Errorf("oldest %d, want 0", f.oldest.Load())
	}
	f.expire(1) // gives up 0, passes 1
	wantInFlight("0 given up", 1)
	if f.oldest.Load() != 2 || f.givenUp != 1 {
		t.Errorf("oldest %d, given up %d, want 2 and 1", f.oldest.Load(), f.givenUp)
	}
	for range 2 { // both members have it now
		if f.arrived(0) {
			t.Error("a broadcast that was given up must not complete")
		}
	}
	f.arrived(2)
	// The other member leaves, having received broadcasts 0 and 1.
	tr := track{}
	tr.arrive(0)
	tr.arrive(1)
	if !f.leave(&tr) {
		t.Error("2 must be complete when the member it waits for leaves")
	}
	wantInFlight("2 complete", 0)
	if tr.lost(f.sent.Load()) != 1 {
		t.Errorf("the member that left lost %d, want 1", tr.lost(f.sent.Load()))
	}
	f.add(3)
	if !f.arrived(3) {
		t.Error("one member is left: its arrival completes 3")
	}
}

func TestFlightRingFills(t *testing.T) {
	f := &flight{}
	f.setMembers(1)
	for at := range int64(flightRing) {
		f.add(at)
	}
	if !f.full() {
		t.Fatal("not full after a ring of broadcasts")
	}
	f.expire(1)
	if f.full() || f.inFlight() != flightRing-1 {
		t.Errorf("full %v, %d in flight after one was given up", f.full(), f.inFlight())
	}
}
