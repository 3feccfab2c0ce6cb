//go:build linux

package main

import (
	"fmt"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// broadcasting is what the loops of a fanout run share.
type broadcasting struct {
	flight      flight
	from, until atomic.Int64 // the measured part, on the run's clock; never before it is known
	publisher   *client      // the client that pushes, nil if there is none; not counted as a member
	stop        func(error)  // ends the run with an error; it may be called from anywhere
	wakePacer   func()       // wakes the publishing loop
}

// fanoutLoop is the handler of one loop of a fanout run: it counts what the members receive.
type fanoutLoop struct {
	loop   *loop
	shared *broadcasting
	pacer  *pacer // on the loop that publishes, else nil

	marker     marker
	tracks     []track                 // by the client's index
	latency    *hdrhistogram.Histogram // of broadcasts sent in the measured part, µs
	measured   int64                   // deliveries in the measured part
	bytes      int64                   // their text
	late       int64
	duplicated int64
	completed  bool // a broadcast was completed in this turn
	delivered  int64
	lookAt     int64 // when live figures are due

	// For the progress line.
	liveDelivered, liveP99 atomic.Int64
}

var _ handler = (*fanoutLoop)(nil)

func newFanoutLoop(l *loop, shared *broadcasting, m marker) *fanoutLoop {
	return &fanoutLoop{loop: l, shared: shared, marker: m, tracks: make([]track, len(l.clients)), latency: newHistogram()}
}

// message counts one delivery.
func (h *fanoutLoop) message(c *client, text []byte) {
	seq, sent, ok := h.marker.find(text)
	if !ok {
		h.other(c, text)
		return
	}
	if c == h.shared.publisher || seq >= h.shared.flight.sent.Load() {
		return
	}
	h.delivered++
	switch h.tracks[c.index].arrive(seq) {
	case duplicate:
		h.duplicated++
		return
	case late:
		h.late++
	}
	now, from, until := h.loop.readAt, h.shared.from.Load(), h.shared.until.Load()
	if now >= from && now < until {
		h.measured++
		h.bytes += int64(len(text))
	}
	if sent >= from && sent < until {
		_ = h.latency.RecordValue(micros(now - sent))
	}
	if h.shared.flight.arrived(seq) {
		h.completed = true
	}
}

// other handles what is no broadcast of this run.
func (h *fanoutLoop) other(c *client, text []byte) {
	m, ok := h.loop.control(c, text)
	if !ok || c != h.shared.publisher || !m.isReply(pushRef) {
		return
	}
	if status := field(m.payload, "status"); string(status) != `"ok"` {
		h.loop.errors.add(fmt.Sprintf("push: refused, %.100s", field(m.payload, "response")))
		h.loop.fleet.failed.Add(1)
	}
}

// cutOff takes a member that is gone out of the reckoning; without its publisher the run is over.
func (h *fanoutLoop) cutOff(c *client, why string) {
	if c == h.shared.publisher {
		h.shared.stop(fmt.Errorf("the publishing client: %s", why))
		return
	}
	if h.shared.flight.leave(&h.tracks[c.index]) {
		h.completed = true
	}
}

func (h *fanoutLoop) turn(now int64) (next int64) {
	if now >= h.lookAt {
		h.liveDelivered.Store(h.delivered)
		h.liveP99.Store(h.latency.ValueAtQuantile(99))
		h.lookAt = now + int64(progressEvery)/2
	}
	if h.pacer != nil {
		return h.pacer.turn(now)
	}
	if h.completed {
		h.completed = false
		h.shared.wakePacer()
	}
	return never
}

// lost is how many of the messages published to the loop's members did not come; after the fleet has stopped.
func (h *fanoutLoop) lost() (n int64) {
	sent := h.shared.flight.sent.Load()
	for i := range h.loop.clients {
		c, t := &h.loop.clients[i], &h.tracks[i]
		switch {
		case c == h.shared.publisher:
		case c.state == joined:
			n += t.lost(sent)
		default: // cut off, and reckoned up then; or never a member
			n += int64(t.missing)
		}
	}
	return n
}
