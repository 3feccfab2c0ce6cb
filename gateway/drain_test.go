package gateway

import (
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// TestDrainWindow: over how long sockets are closed.
func TestDrainWindow(t *testing.T) {
	l, _ := newTestLoop(t, func(cfg *Config) { cfg.DrainSpread, cfg.DrainRate = 15*time.Second, 500 })
	const s = time.Second
	for _, tc := range []struct {
		name   string
		n      int
		rest   time.Duration
		want   time.Duration
		rushed bool
	}{
		{"nobody", 0, 29 * s, 0, false},
		{"a handful", 3, 29 * s, 600 * time.Millisecond, false},
		{"the usual", 1000, 29 * s, 15 * s, false},
		{"the rate asks for longer", 10_000, 29 * s, 20 * s, false},
		{"no time for the rate", 20_000, 29 * s, 25 * s, true},
		{"no time for the spread", 1000, 8 * s, 6 * s, false},
		{"no time", 1000, 0, 0, true},
		{"no time for nobody", 0, 0, 0, false},
	} {
		if window, rushed := l.srv.drainWindow(tc.n, tc.rest); window != tc.want || rushed != tc.rushed {
			t.Errorf("%s: %v, rushed: %t; want %v, %t", tc.name, window, rushed, tc.want, tc.rushed)
		}
	}
}

// TestMaxAge: sockets end at different times within the last quarter of their age, as in a drain, and no faster than the drain's rate.
func TestMaxAge(t *testing.T) {
	const age, sockets, most = 100 * time.Second, 200, 20
	l, bus := newTestLoop(t, func(cfg *Config) {
		cfg.MaxAge, cfg.DrainRate, cfg.IdleTimeout = age, most, time.Hour
	})
	all := make([]*socket, sockets)
	for i := range all {
		all[i] = openSocket(l, keeping(), phx.V2)
		all[i].retires = l.retirement()
	}
	ch := join(t, l, bus, all[0], "room:1")
	begun := l.now
	tickTo := func(d time.Duration) { tickMail(begun + tick(d/tickLength)).deliver(l) }
	over := func() (n int) {
		for _, s := range all {
			if s.state != open {
				n++
			}
		}
		return n
	}
	for d := 70 * time.Second; d < 3*age/4-tickLength; d += tickLength {
		tickTo(d)
	}
	if n := over(); n != 0 {
		t.Fatalf("%d sockets ended before three quarters of their age", n)
	}
	// The pace is of real time, of which none has passed: a loop that was late with all of them closes the burst and no more.
	for d := age; d < age+scanTicks*tickLength; d += tickLength {
		tickTo(d)
	}
	if n := over(); n == 0 || n > most {
		t.Errorf("%d sockets ended at once, want some and at most %d", n, most)
	}
	l.srv.pace.SetLimit(1e9)
	l.srv.pace.SetBurst(sockets)
	for d := age + time.Second; d < age+2*time.Second; d += tickLength {
		tickTo(d)
	}
	if n := over(); n != sockets {
		t.Errorf("%d sockets ended, want all", n)
	}
	turn(l)
	if ch.state != ended || len(bus.left) != 1 || bus.left[0] != leftDrained {
		t.Errorf("phx.left says %v, want drained", bus.left)
	}
	frames := all[0].tr.(*fakeTransport).frames(t)
	if last := frames[len(frames)-1]; closeCodeOf(last.Payload) != uint16(statusServiceRestart) {
		t.Errorf("closed with %d, want 1012", closeCodeOf(last.Payload))
	}
	if early, late := spreadOf(l, 1000); early > 77*time.Second || late < 98*time.Second {
		t.Errorf("1000 sockets would end between %v and %v, want most of the last quarter", early, late)
	}
}

// spreadOf is when the first and the last of n sockets that open now would be too old.
func spreadOf(l *loop, n int) (early, late time.Duration) {
	early = time.Hour
	for range n {
		d := time.Duration(l.retirement()-l.now) * tickLength
		early, late = min(early, d), max(late, d)
	}
	return early, late
}

func closeCodeOf(payload []byte) uint16 {
	if len(payload) < 2 {
		return 0
	}
	return uint16(payload[0])<<8 | uint16(payload[1])
}
