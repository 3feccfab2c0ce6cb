package gateway

import (
	"net/http"
	"time"
)

// Admission: what a reconnect storm becomes. A handshake beyond a limit is held, since phoenix.js comes back within 10 ms after a refusal, and moves to long polling for good where it was
// told to fall back; only who has waited in vain is refused. A join beyond a limit waits too: phoenix.js gives a join 10 s, and tries again 1, 2, 5, then 10 s after a refusal. So one that
// would be answered too late is refused at once, and comes back more slowly than if its time had run out.

const (
	// holdFor is how long a handshake is held.
	holdFor = 2 * time.Second
	// mostHeld is how many handshakes are held, mostHeldOfAddress how many that one address's limits hold up. They are connections all the while, in MaxConnections and ConnectionSlack.
	mostHeld          = 1 << 14
	mostHeldOfAddress = mostHeld / 8
	// longestJoinWait is how long a join may wait for its turn: what is left of phoenix.js's 10 s is for the authorizer.
	longestJoinWait = 5 * time.Second
	// mostJoinsWaiting is how many joins wait, mostJoinsOfAddress how many that one address's limits hold up.
	mostJoinsWaiting   = 1 << 20
	mostJoinsOfAddress = mostJoinsWaiting / 8
)

// newGates makes the gates of the settings; joins is nil where there are no limits.
func (srv *Server) newGates() (handshakes, joins *gate) {
	cfg := &srv.cfg
	handshakes = newGate(gateLimits{
		perSecond: cfg.UpgradesPerSecond, addressPerSecond: cfg.AddressUpgradesPerSecond, addressCount: cfg.AddressConnections,
		hold: holdFor, most: mostHeld, mostFromAddress: mostHeldOfAddress,
	}, srv.clock, func(waiting int) bool { return srv.open.Load()-int64(waiting) <= int64(cfg.MaxConnections) })
	if cfg.JoinsPerSecond > 0 || cfg.AddressJoinsPerSecond > 0 {
		joins = newGate(gateLimits{
			perSecond: cfg.JoinsPerSecond, addressPerSecond: cfg.AddressJoinsPerSecond,
			longest: longestJoinWait, most: mostJoinsWaiting, mostFromAddress: mostJoinsOfAddress,
		}, srv.clock, nil)
	}
	return handshakes, joins
}

// admit lets a handshake whose request is good go on, now or later.
func (l *loop) admit(s *socket, connect *ConnectRequest) {
	gen, hs := s.gen, s.in.hs
	hs.connect, hs.waiter = connect, &waiter{}
	hs.waiter.done = func(lacks lack) {
		l.mailbox.post(mailFunc(func(l *loop) {
			if lacks == lacksNothing {
				l.srv.handshakes.begun()
			}
			switch {
			case s.gen != gen || s.state != held || s.doom != causeNone:
			case lacks == lacksNothing:
				l.admitted(s)
			default:
				l.turnAway(s, lacks)
			}
		}))
	}
	s.state = held
	switch lacks, waits := l.srv.handshakes.enter(s.peer, hs.waiter); {
	case waits:
		l.stats.held.add(heldHandshakes, 1)
		s.deadline = l.after(headTimeout) // if the gate forgot it
	case lacks == lacksNothing:
		l.admitted(s)
	default:
		l.turnAway(s, lacks)
	}
}

// admitted goes on with a handshake whose turn it is.
func (l *loop) admitted(s *socket) {
	hs := s.in.hs
	connect := hs.connect
	hs.connect, hs.waiter = nil, nil
	s.counted = l.srv.cfg.AddressConnections > 0
	l.connect(s, connect)
}

// standDown takes a handshake out of the queue, if it is in: its connection ends.
func (l *loop) standDown(s *socket) {
	if hs := s.in.hs; hs != nil && hs.waiter != nil {
		l.srv.handshakes.abandon(hs.waiter)
		hs.waiter = nil
	}
}

// turnAway refuses a handshake for what it lacks.
func (l *loop) turnAway(s *socket, lacks lack) {
	l.stats.turnedAway.add(int(lacks), 1)
	text := "too many connects"
	switch lacks {
	case lacksRoom:
		l.stats.refusedConnections.add(1)
		text = "too many connections"
	case lacksAddressRoom:
		text = "too many connections of this address"
	case lacksAddressRate:
		text = "too many connects of this address"
	}
	l.refuse(s, refusal{status: http.StatusServiceUnavailable, text: text, after: min(l.srv.handshakes.delay(), maxRetryAfter)})
}

// maxRetryAfter bounds what a refused client is told.
const maxRetryAfter = 30 * time.Second

// admitJoin lets a join go on, now or later; with a reason it is refused.
func (l *loop) admitJoin(ch *channel) (passed bool, reason string) {
	if l.srv.joins == nil {
		return true, ""
	}
	w := &waiter{done: func(lack) {
		l.mailbox.post(mailFunc(func(l *loop) {
			l.srv.joins.begun()
			if ch.state == joining {
				ch.more.waiter = nil
				l.decideJoin(ch)
			}
		}))
	}}
	switch lacks, waits := l.srv.joins.enter(ch.socket.peer, w); {
	case waits:
		l.stats.held.add(heldJoins, 1)
		ch.more.waiter = w
		return false, ""
	case lacks == lacksNothing:
		return true, ""
	default:
		l.stats.joinsTurnedAway.add(int(lacks), 1)
		if lacks == lacksAddressRate {
			return false, reasonRateLimited
		}
		return false, reasonOverloaded
	}
}
