//go:build linux

package main

import (
	"slices"
	"sync/atomic"
)

// dialer starts a loop's clients in order, no more at a time than the limit and no faster than the rate.
type dialer struct {
	limit    int          // clients that may be under way
	rate     float64      // per second; 0: no limit
	startAt  atomic.Int64 // when the first may start; never until the fleet connects
	started  int          // clients [0, started) of the loop are under way or beyond
	underWay int
	oldest   int // no client below this one is under way
}

// turn starts what may start and ends what took too long. It returns when there may be more to do.
func (d *dialer) turn(l *loop, now int64) (next int64) {
	d.expire(l, now)
	for d.started < len(l.clients) && d.underWay < d.limit {
		if at := d.dueAt(); at > now {
			return at
		}
		c := &l.clients[d.started]
		d.started++
		d.underWay++
		l.connect(c, l.clock.now())
	}
	return never
}

// dueAt is when the next client may start.
func (d *dialer) dueAt() int64 {
	at := d.startAt.Load()
	if d.rate == 0 || at == never {
		return at
	}
	return at + int64(float64(d.started)/d.rate*1e9)
}

// expire ends the clients that are not joined in time; as they started in order, only the oldest need be looked at.
func (d *dialer) expire(l *loop, now int64) {
	for d.oldest < d.started {
		c := &l.clients[d.oldest]
		if c.state < joined {
			if now-c.startedAt < int64(l.fleet.config.timeout) {
				return
			}
			l.end(c, "timeout: "+c.state.String())
		}
		d.oldest++
	}
}

// done notes that a client joined or failed.
func (d *dialer) done() { d.underWay-- }

// errorCounts counts errors by their text. The texts come from a server in part, so the number of kinds is bounded.
type errorCounts map[string]int

const (
	maxErrorKinds = 40
	otherErrors   = "other"
)

func (e errorCounts) add(kind string) { e.addN(kind, 1) }

func (e errorCounts) addN(kind string, n int) {
	if _, known := e[kind]; !known && len(e) >= maxErrorKinds {
		kind = otherErrors
	}
	e[kind] += n
}

func (e errorCounts) total() (n int) {
	for _, count := range e {
		n += count
	}
	return n
}

// kinds returns the kinds, the most frequent first.
func (e errorCounts) kinds() []string {
	kinds := make([]string, 0, len(e))
	for kind := range e {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b string) int {
		if e[a] != e[b] {
			return e[b] - e[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
	return kinds
}
