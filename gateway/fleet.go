package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// announceEvery is how often a gateway tells the fleet how it is.
	announceEvery = time.Second
	// forgetAfter is how long one that says nothing is taken to be there.
	forgetAfter = 4 * announceEvery
	// maxNeighbours bounds what is remembered of a fleet; more are ignored.
	maxNeighbours = 4096
)

// Status is what a gateway tells its fleet of itself.
type Status struct {
	ID, Version string
	NATS        string // name of the server that it is connected to; filled in by the Fleet
	Sockets     int
	Channels    int
	Topics      int
	Lag         time.Duration // the longest that something waited for a loop since the last announcement
	State       State
}

// State is where a gateway is in its life, as the fleet sees it.
type State string

// The states.
const (
	Serving  State = "serving"
	Draining State = "draining"
	Gone     State = "gone" // the last word
)

// fleet is what one gateway knows of the others, and how many of its sockets it should give up to them.
type fleet struct {
	srv *Server

	mu   sync.Mutex // guards what follows
	view view
	owed float64 // sockets to shed, less than one
	next time.Time
	said State
}

func newFleet(srv *Server) *fleet {
	return &fleet{srv: srv, view: newView(srv.cfg.ID, srv.cfg.Version, srv.cfg.ShedTolerance, time.Now())}
}

// Announced implements [Inbox].
func (srv *Server) Announced(s *Status) {
	if f := srv.fleet; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.view.heard(s, time.Now())
	}
}

// tick is called ten times a second: it announces when it is time, and sheds what is owed.
func (f *fleet) tick(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := Serving
	if f.srv.Draining() {
		state = Draining
	}
	if now.After(f.next) || state != f.said {
		f.next, f.said = now.Add(announceEvery), state
		f.announce(state)
	}
	if state != Serving || f.srv.cfg.ShedTolerance == 0 {
		return
	}
	if !f.srv.bus.Available() {
		f.view.troubled(now)
	}
	f.owed += min(f.view.surplus(int(f.srv.stats.sockets.load()), now)/shedTime.Seconds(), float64(f.srv.cfg.DrainRate)) * tickLength.Seconds()
	for ; f.owed >= 1; f.owed-- {
		f.srv.nextLoop().mailbox.post(mailFunc((*loop).shedOne))
	}
}

// announce tells the others. What is not published now is told in a second.
func (f *fleet) announce(state State) {
	s := f.srv.stats
	_ = f.srv.cfg.Fleet.Announce(&Status{
		ID: f.srv.cfg.ID, Version: f.srv.cfg.Version, Sockets: int(s.sockets.load()), Channels: int(s.channels.load()), Topics: f.srv.hub.count(),
		Lag: f.srv.lag.take(), State: state,
	})
}

// missed notes that NATS had a moment of its own.
func (f *fleet) missed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view.troubled(time.Now())
}

// lagMail tells by how long it waits how far a loop is behind.
type lagMail time.Time

func (m lagMail) deliver(l *loop) { l.srv.lag.note(time.Since(time.Time(m))) }

// lag is the longest that mail waited for a loop.
type lag struct{ most atomic.Int64 }

func (g *lag) note(d time.Duration) {
	for {
		was := g.most.Load()
		if int64(d) <= was || g.most.CompareAndSwap(was, int64(d)) {
			return
		}
	}
}

// take returns it and begins anew.
func (g *lag) take() time.Duration { return time.Duration(g.most.Swap(0)) }
