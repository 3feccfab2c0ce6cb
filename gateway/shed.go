package gateway

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	// settleTime is how long a fleet must have been the same before a gateway sheds.
	settleTime = 30 * time.Second
	// shedTime is in how long a surplus would be shed at the pace with which it begins; it goes on ever more slowly, so that two thirds are gone after this time.
	shedTime = 30 * time.Second
)

// view is a fleet as one of its gateways sees it, and decides how many of its sockets are more than its share. Time comes as an argument.
//
// Clients that are shed connect again wherever their balancer sends them. That helps where there is a gateway with room, as after a scale-up, and nowhere else: a fleet that rolls moves
// its clients anyhow, and what a gateway hears while NATS is in trouble is not the whole fleet. So it does not shed until all has been quiet for settleTime.
type view struct {
	own, version string
	tolerance    float64
	settled      time.Time // until then the fleet, or NATS, was last seen to change
	others       map[string]neighbour
	shedding     bool
}

// neighbour is another gateway and when it was heard.
type neighbour struct {
	Status
	at time.Time
}

func newView(own, version string, tolerance float64, now time.Time) view {
	return view{own: own, version: version, tolerance: tolerance, settled: now.Add(settleTime), others: map[string]neighbour{}}
}

// heard takes an announcement.
func (v *view) heard(s *Status, now time.Time) {
	was, known := v.others[s.ID]
	switch {
	case s.ID == v.own || !known && (s.State == Gone || len(v.others) >= maxNeighbours):
		return
	case !known || was.State != s.State:
		v.troubled(now)
	}
	if s.State == Gone {
		delete(v.others, s.ID)
		return
	}
	v.others[s.ID] = neighbour{*s, now}
}

// troubled notes that something changed, in the fleet or with NATS.
func (v *view) troubled(now time.Time) { v.settled = now.Add(settleTime) }

// surplus is how many of its sockets the gateway should give up; 0 also where that cannot be said now.
func (v *view) surplus(sockets int, now time.Time) float64 {
	sum, rolls := sockets, false
	for id, n := range v.others {
		if now.Sub(n.at) > forgetAfter {
			delete(v.others, id)
			v.troubled(now)
			continue
		}
		rolls = rolls || n.State != Serving || n.Version != v.version
		sum += n.Sockets
	}
	if rolls || len(v.others) == 0 || now.Before(v.settled) {
		v.shedding = false
		return 0
	}
	mean := float64(sum) / float64(len(v.others)+1)
	// Three deviations of what chance alone does where a balancer picks at random.
	allowed := max(v.tolerance*mean, 3*math.Sqrt(mean))
	if v.shedding { // it goes on until it is well within
		allowed /= 2
	}
	surplus := float64(sockets) - mean - allowed
	v.shedding = surplus > 0
	return max(surplus, 0)
}

// shedOne closes a socket of the loop, picked at random; none where a few tries find none that is open.
func (l *loop) shedOne() {
	for range min(len(l.slots), 16) {
		if s := l.slots[rand.IntN(len(l.slots))]; s != nil && s.state == open {
			if l.srv.pace.Allow() {
				l.closeSocket(s, causeShed)
			}
			return
		}
	}
}
