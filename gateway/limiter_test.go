package gateway

import (
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	if (Limit{}).limiter() != nil {
		t.Error("a limiter without a rate")
	}
	b := Limit{PerSecond: 10, Burst: 3}.limiter()
	at := func(now time.Duration, want bool) {
		t.Helper()
		if got := b.allow(now); got != want {
			t.Errorf("at %v: %v, want %v", now, got, want)
		}
	}
	for _, want := range []bool{true, true, true, false, false} {
		at(time.Second, want)
	}
	at(time.Second+99*time.Millisecond, false)
	at(time.Second+101*time.Millisecond, true) // a token every 100 ms
	at(time.Second+101*time.Millisecond, false)
	for _, want := range []bool{true, true, true, false} { // idle: no more than the burst
		at(time.Hour, want)
	}
}

// TestLimiterRate wants the rate over a long time, however the events are spaced.
func TestLimiterRate(t *testing.T) {
	for _, step := range []time.Duration{time.Millisecond, 7 * time.Millisecond, 33 * time.Millisecond} {
		b := Limit{PerSecond: 20, Burst: 5}.limiter()
		allowed := 0
		for now := step; now <= 100*time.Second; now += step {
			if b.allow(now) {
				allowed++
			}
		}
		if allowed < 1999 || allowed > 2005 {
			t.Errorf("every %v: %d events in 100 s, want 2000 and the burst", step, allowed)
		}
	}
}
