//go:build linux

package ceilings

import (
	"slices"
	"sync"
	"time"
)

// window is what the healthy clients measure between two moments. What was sent in it counts whenever it arrives.
type window struct {
	mu         sync.Mutex // guards all
	pings      int        // heartbeats sent
	pushes     int        // broadcasts sent times members
	heartbeats []time.Duration
	broadcasts []time.Duration
}

func (w *window) add(to *[]time.Duration, d time.Duration) {
	w.mu.Lock()
	*to = append(*to, d)
	w.mu.Unlock()
}

func (w *window) send(heartbeats, broadcasts int) {
	w.mu.Lock()
	w.pings += heartbeats
	w.pushes += broadcasts
	w.mu.Unlock()
}

// missing is how much of what was sent has not arrived.
func (w *window) missing() (heartbeats, broadcasts int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pings - len(w.heartbeats), w.pushes - len(w.broadcasts)
}

// percentiles are the 99th of a window's times, and how many heartbeats were never answered and broadcasts never came.
type percentiles struct {
	heartbeat, broadcast time.Duration
	unanswered, lost     int
}

func (w *window) percentiles() percentiles {
	unanswered, lost := w.missing()
	w.mu.Lock()
	defer w.mu.Unlock()
	return percentiles{percentile99(w.heartbeats), percentile99(w.broadcasts), unanswered, lost}
}

func percentile99(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)*99/100]
}
