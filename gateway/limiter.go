package gateway

import (
	"time"

	"github.com/phxgate/phxgate/gateway/rules"
)

// limiter is a token bucket for the events of one channel. Time comes as an argument.
type limiter struct {
	rate   float64 // tokens a second
	burst  float64
	tokens float64
	last   time.Duration
}

// newLimiter returns a full bucket; nil if the rule has no limit.
func newLimiter(r rules.Limits) *limiter {
	if r.EventsPerSecond <= 0 {
		return nil
	}
	return &limiter{rate: r.EventsPerSecond, burst: float64(r.Burst), tokens: float64(r.Burst)}
}

// allow takes a token at a time since some fixed point; false if there is none.
func (b *limiter) allow(now time.Duration) bool {
	if b.last != 0 {
		b.tokens = min(b.burst, b.tokens+(now-b.last).Seconds()*b.rate)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
