package gateway

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestChannelIDRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ids := []channelID{{}, {loop: 255, slot: 1<<slotBits - 1, gen: math.MaxUint32, n: math.MaxUint32}, {loop: 63}, {slot: 1}, {gen: 1}, {n: 1}}
	for range 10000 {
		ids = append(ids, channelID{loop: uint8(r.Uint32()), slot: r.Uint32N(1 << slotBits), gen: r.Uint32() >> r.IntN(32), n: r.Uint32() >> r.IntN(32)})
	}
	seen := map[string]bool{}
	for _, id := range ids {
		s := id.format("g-1_A")
		if got, ok := parseChannelID("g-1_A", s); !ok || got != id {
			t.Fatalf("%+v is written %q and read %+v, %v", id, s, got, ok)
		}
		if strings.Count(s, ".") != 2 || strings.ContainsAny(s, " *>") {
			t.Fatalf("%q is not three subject-safe tokens", s)
		}
		seen[s] = true
	}
	if len(seen) < 10000 {
		t.Errorf("only %d different ids", len(seen))
	}
}

func TestParseChannelIDRefuses(t *testing.T) {
	good := channelID{loop: 1, slot: 2, gen: 3, n: 40}.format("g1")
	if _, ok := parseChannelID("g1", good); !ok {
		t.Fatal(good)
	}
	for _, s := range []string{
		"", "g1", "g1.", "g1..", "g1.a", "g1.a.", "g1..a", ".a.b", "g1.a.b.c", "g2" + good[2:], "g" + good, "g1x" + good[2:], "G1" + good[2:],
		strings.ToUpper(good), "g1.0a.b", "g1.a.0b", "g1.A.b", "g1.a.-1", "g1.+a.b", "g1.a_a.b", "g1.a.zzzzzzz", "g1.zzzzzzzzzzzzz.1",
		" " + good, good + " ", good + "\x00",
	} {
		if id, ok := parseChannelID("g1", s); ok {
			t.Errorf("%q is read as %+v", s, id)
		}
	}
}
