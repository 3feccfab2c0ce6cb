//go:build linux

package ceilings

import "time"

// paced calls do for 0 to n-1, at most so many times a second, in steps of a few milliseconds. What this process is late with it does not make up for: that would be
// a burst that no limit is about.
func paced(n, perSecond int, do func(i int)) {
	const step = 4 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	due := 0.0
	for i := 0; i < n; {
		<-tick.C
		for due += float64(perSecond) * step.Seconds(); i < min(int(due), n); i++ {
			do(i)
		}
	}
}
