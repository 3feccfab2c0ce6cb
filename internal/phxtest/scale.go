package phxtest

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// patience bounds the wait for one thing that must happen, before scaling.
const patience = 5 * time.Second

// Scaled stretches a duration that suits an idle machine to this one: times
// the environment variable PHXTEST_SCALE (a positive number, default 1), and
// times two where the race detector is on. It panics if the variable does not
// hold such a number, since every deadline would be wrong.
func Scaled(d time.Duration) time.Duration {
	factor := raceFactor
	if text := os.Getenv("PHXTEST_SCALE"); text != "" {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f > 0 && f <= 1000) {
			panic(fmt.Sprintf("PHXTEST_SCALE=%q: want a number above 0, at most 1000", text))
		}
		factor *= f
	}
	return time.Duration(float64(d) * factor)
}

// Patience is how long an instrument waits for something that must happen:
// five seconds, scaled. It is more than the 3 s that the transcripts ask for.
func Patience() time.Duration { return Scaled(patience) }

// pollPatience bounds one HTTP exchange; a long poll may take 15 s.
func pollPatience() time.Duration { return Scaled(15 * time.Second) }

// waitUntil calls done until it returns true, at most for d, and reports
// whether it did.
func waitUntil(d time.Duration, done func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return done()
		}
	}
	return true
}
