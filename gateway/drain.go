package gateway

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A drain, step by step: the gateway says that it goes away, and still takes sockets for DrainDelay, since load balancers need a moment to hear of it; then it takes none; presence
// is told; sockets are closed with 1012 in random order, at an even pace; and it waits until they are gone. All who are closed come back to the rest of the fleet within milliseconds,
// so the pace is what that and the authz service see.

const (
	// slowestPace is how many sockets a drain closes in a second at least: a handful need no time between them.
	slowestPace = 5
	// drainStep is the time between two looks at how many sockets are due.
	drainStep = 10 * time.Millisecond
)

// announceDrain says that the gateway goes away, and waits as long as it still takes sockets.
func (srv *Server) announceDrain(accepts <-chan struct{}) {
	srv.draining.Store(true)
	delay := time.NewTimer(srv.cfg.DrainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-srv.closing:
	case <-accepts:
	}
}

// drain lets go of every socket by a deadline, and ends the loops.
func (srv *Server) drain(deadline time.Time) {
	srv.shut.Store(true)
	if srv.cfg.Presence != nil {
		srv.cfg.Presence.Drain(max(time.Until(deadline)/2, 0))
	}
	sockets := srv.openSockets()
	srv.stats.drained.add(len(sockets))
	window, rushed := srv.drainWindow(len(sockets), time.Until(deadline))
	srv.log.Info("draining", "sockets", len(sockets), "over", window.Round(time.Millisecond))
	if rushed {
		srv.log.Warn("too many sockets for the drain timeout at the drain rate: they are closed faster", "sockets", len(sockets), "rate", srv.cfg.DrainRate, "over", window.Round(time.Millisecond))
	}
	srv.letGo(sockets, window, deadline)
	if left := srv.awaitEmpty(deadline); left > 0 {
		srv.log.Warn("no time left to drain: sockets are closed at once", "sockets", left)
	}
	for _, l := range srv.loops {
		l.mailbox.post(mailFunc((*loop).end))
	}
}

// drainWindow is over how long n sockets are closed where a drain may still take rest: DrainSpread; less for a few, more where DrainRate would be exceeded, and never so long that the
// last one has no time to say goodbye. rushed: DrainRate is exceeded for that.
func (srv *Server) drainWindow(n int, rest time.Duration) (window time.Duration, rushed bool) {
	at := func(rate int) time.Duration { return time.Duration(n) * time.Second / time.Duration(rate) }
	most := max(rest-min(closeGrace, rest/4), 0)
	window = max(min(srv.cfg.DrainSpread, at(slowestPace)), at(srv.cfg.DrainRate))
	return min(window, most), at(srv.cfg.DrainRate) > most
}

// named is a socket as others than its loop know it.
type named struct {
	loop      int
	slot, gen uint32
}

// openSockets refuses what is not open yet and returns all that is.
func (srv *Server) openSockets() (all []named) {
	lists := make([][]named, len(srv.loops))
	srv.ask(func(l *loop) {
		l.refuseHandshakes()
		for _, s := range l.slots {
			if s != nil && s.state == open {
				lists[l.id] = append(lists[l.id], named{l.id, s.slot, s.gen})
			}
		}
	})
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// letGo closes sockets in random order, evenly over a window; those that are left at a deadline are not closed.
func (srv *Server) letGo(sockets []named, window time.Duration, deadline time.Time) {
	rand.Shuffle(len(sockets), func(i, j int) { sockets[i], sockets[j] = sockets[j], sockets[i] })
	pace := float64(len(sockets)) / max(window, drainStep).Seconds()
	// What a busy machine is late with is made up for, but not beyond the rate.
	atMost := bucketOf(max(srv.cfg.DrainRate, int(math.Ceil(pace))), 1)
	step := time.NewTicker(drainStep)
	defer step.Stop()
	began := time.Now()
	for done := 0; done < len(sockets) && time.Now().Before(deadline); {
		due := min(int(pace*time.Since(began).Seconds())+1, len(sockets))
		for ; done < due && atMost.allow(srv.clock()); done++ {
			srv.closeNamed(sockets[done])
		}
		select {
		case <-step.C:
		case <-srv.closing:
			return
		}
	}
}

// closeNamed closes a socket if it is still there.
func (srv *Server) closeNamed(n named) {
	srv.loops[n.loop].mailbox.post(mailFunc(func(l *loop) {
		if s := l.lookup(n.slot, n.gen); s != nil {
			l.closeSocket(s, causeDrain)
		}
	}))
}

// awaitEmpty waits until every socket is gone and their events are handed over, by a deadline, and returns how many connections are left.
func (srv *Server) awaitEmpty(deadline time.Time) int64 {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	poll := time.NewTicker(2 * drainStep)
	defer poll.Stop()
	for {
		var busy atomic.Bool
		srv.ask(func(l *loop) {
			if len(l.draining) > 0 {
				busy.Store(true)
			}
		})
		if srv.open.Load() == 0 && !busy.Load() {
			return 0
		}
		select {
		case <-late.C:
			return srv.open.Load()
		case <-srv.closing:
			return srv.open.Load()
		case <-poll.C:
		}
	}
}

// ask has every loop do something, and waits until all have.
func (srv *Server) ask(f func(*loop)) {
	var asked sync.WaitGroup
	for _, l := range srv.loops {
		asked.Add(1)
		l.mailbox.post(mailFunc(func(l *loop) {
			defer asked.Done()
			f(l)
		}))
	}
	asked.Wait()
}

// refuseHandshakes ends what is not open yet.
func (l *loop) refuseHandshakes() {
	for _, s := range l.slots {
		if s == nil {
			continue
		}
		switch s.state {
		case introducing: // nobody is there to be told, and a TLS answer would take the header for its hello
			l.abort(s, causeDrain)
		case handshaking, held, connecting:
			l.refuse(s, refusal{status: http.StatusServiceUnavailable, text: "draining"})
		}
	}
	l.flushSockets()
}

// closeAll closes every socket.
func (l *loop) closeAll() {
	for _, s := range l.slots {
		if s != nil && s.state == open {
			l.closeSocket(s, causeDrain)
		}
	}
	l.refuseHandshakes()
}

// end is the last thing a loop does: who is still there is told, and not waited for.
func (l *loop) end() {
	l.closeAll()
	for _, s := range l.slots {
		if s != nil {
			l.discard(s, false) // what is on its way to the client still gets there
		}
	}
	for ch := range l.draining {
		l.endChannel(ch, ch.more.reason)
	}
	l.stopping = true
}
