package gateway

import "time"

// limiter is a token bucket: of what clients send (limits.go), and of what passes a gate. Time comes as an argument.
type limiter struct {
	rate   float64 // tokens a second
	burst  float64
	tokens float64
	last   time.Duration
}

// allow takes a token at a time since some fixed point; false if there is none.
func (b *limiter) allow(now time.Duration) bool {
	if !b.has(now) {
		return false
	}
	b.tokens--
	return true
}

// has reports whether there is a token.
func (b *limiter) has(now time.Duration) bool {
	if b.last != 0 {
		b.tokens = min(b.burst, b.tokens+(now-b.last).Seconds()*b.rate)
	}
	b.last = now
	return b.tokens >= 1
}

// full reports whether the bucket is as it was made.
func (b *limiter) full(now time.Duration) bool {
	b.has(now)
	return b.tokens == b.burst
}
