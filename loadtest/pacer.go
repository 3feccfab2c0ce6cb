//go:build linux

package main

import (
	"sync/atomic"
	"time"
)

// pacer decides when the next broadcast goes: so that a number of them is always on its way (window), or so many a
// second (rate). Everything but the atomic field belongs to the loop that publishes.
type pacer struct {
	clock   clock
	flight  *flight
	window  int     // > 0
	rate    float64 // per second; above 0 it holds instead of window
	giveUp  time.Duration
	out     publisher
	payload payload
	failed  func(error)

	phase   atomic.Int32
	startAt int64         // of the first broadcast; 0: not yet
	landed  chan struct{} // closed when publishing has ended and nothing is on its way
}

// A pacer's phases, each set by whoever runs the scenario; the last by the pacer itself.
const (
	pacerWaiting = iota
	pacerPublishing
	pacerLanding // no more broadcasts; wait for those on their way
	pacerLanded
)

// turn publishes what is due, and returns when more will be.
func (p *pacer) turn(now int64) (next int64) {
	p.flight.expire(now - int64(p.giveUp))
	switch p.phase.Load() {
	case pacerPublishing:
		return p.publishDue()
	case pacerLanding:
		if p.flight.inFlight() == 0 {
			p.phase.Store(pacerLanded)
			close(p.landed)
		}
	}
	return never
}

func (p *pacer) publishDue() (next int64) {
	now := p.clock.now()
	if p.startAt == 0 {
		p.startAt = now
	}
	next = never
	for !p.flight.full() {
		at := now
		if p.rate > 0 {
			// The time it should be sent at, so that the latency shows it if the generator or the server holds it up.
			if at = p.startAt + int64(float64(p.flight.sent.Load())/p.rate*1e9); at > now {
				next = at
				break
			}
		} else if p.flight.inFlight() >= p.window {
			break
		}
		p.payload.set(p.flight.add(at), at)
		if err := p.out.publish(p.payload); err != nil {
			p.failed(err)
			break
		}
	}
	p.out.flush()
	return next
}
