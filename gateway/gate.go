package gateway

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"sync"
	"time"
)

// gate is a bounded queue in front of handshakes, or of joins, of the whole gateway. What it is given goes on at once where the limits allow it, else in the order it came, when they
// do. Nothing waits on a goroutine: whoever is let through is told by a function, and its loop goes on.
//
//	blocked ──its address is below its limits──▶ ready ──the gateway is below its limits──▶ passed ──▶ out
//
// blocked is a queue for each address, so that one that is above its limits holds up nobody else. out: abandoned, from any, or ended.
type gate struct {
	limits gateLimits
	clock  func() time.Duration   // never 0
	room   func(waiting int) bool // whether the gateway has room for one more where so many others wait; nil: it has
	wake   chan struct{}          // something waits; never closed

	mu        sync.Mutex // guards what follows, and all waiters and addresses
	rate      limiter
	ready     waiters
	blocked   map[*address]struct{} // those with waiters
	addresses map[netip.Addr]*address
	waiting   int       // ready and blocked
	under     int       // passed after they waited, and their loops have not come to them yet
	held      []*waiter // where there is a longest hold: all that wait and some that did, in the order they came
}

// gateLimits are a gate's. Where a rate or a number is 0 there is no such limit.
type gateLimits struct {
	perSecond             int
	addressPerSecond      int
	addressCount          int           // how many of one address may be in, until they leave
	hold                  time.Duration // refuses what has waited so long; 0: what waits goes on in the end
	longest               time.Duration // refuses at once what would have to wait longer for the rates; 0: nothing
	most, mostFromAddress int           // that may wait; more are refused at once
}

const (
	// gateStep is the time between two looks at who may go on.
	gateStep = 10 * time.Millisecond
	// burstTime is for how long a gateway that was idle may be above its rate: short, since what is behind the gate is to see a flat line.
	burstTime = 50 * time.Millisecond
	// maxAddresses bounds what is remembered of clients' addresses. Beyond it, new ones are refused.
	maxAddresses = 1 << 20
	// sweepAtOnce bounds how many addresses one sweep looks at.
	sweepAtOnce = 1 << 14
)

// lack is what a handshake or join must wait for, or is refused for want of. It is the label of a metric.
type lack uint8

const (
	lacksNothing lack = iota
	lacksRate
	lacksRoom
	lacksAddressRate
	lacksAddressRoom
	lacksQueue // it may not even wait
	numLacks
)

var lackNames = [numLacks]string{
	lacksNothing: "none", lacksRate: "rate", lacksRoom: "connections", lacksAddressRate: "address_rate", lacksAddressRoom: "address_connections", lacksQueue: "queue_full",
}

func newGate(limits gateLimits, clock func() time.Duration, room func(waiting int) bool) *gate {
	burst := float64(limits.perSecond) * burstTime.Seconds()
	if limits.perSecond == 0 {
		burst = math.Inf(1)
	}
	return &gate{
		limits: limits, clock: clock, room: room, wake: make(chan struct{}, 1),
		rate: bucketOf(limits.perSecond, burst), blocked: map[*address]struct{}{}, addresses: map[netip.Addr]*address{},
	}
}

// bucketOf is a full bucket of a rate and a burst of at least one. It holds a little more, since it is looked at every gateStep: what runs over is lost to who waits.
func bucketOf(rate int, burst float64) limiter {
	burst = max(burst, 1) + float64(rate)*gateStep.Seconds()
	return limiter{rate: float64(rate), burst: burst, tokens: burst}
}

// addressOf is whose limits hold for a client: its own address or, with IPv6, its network of 64 bits, of which each client has all addresses.
func addressOf(peer netip.Addr) netip.Addr {
	if peer = peer.Unmap(); peer.Is6() {
		return netip.PrefixFrom(peer.WithZone(""), 64).Masked().Addr()
	}
	return peer
}

// enter takes a waiter of an address. lacksNothing: it has passed, and done is not called. With waits, it is in the queue and done will be called unless it is abandoned before; else it is
// refused for what it lacks.
func (g *gate) enter(peer netip.Addr, w *waiter) (l lack, waits bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	if g.limits.addressPerSecond > 0 || g.limits.addressCount > 0 {
		if w.address = g.addressFor(addressOf(peer)); w.address == nil {
			return lacksQueue, false
		}
		if l = g.addressLacks(w.address, now); l != lacksNothing || w.address.waiters.n > 0 {
			return g.wait(w, cmp.Or(l, lacksAddressRate), waiterBlocked, &w.address.waiters, now)
		}
	}
	if l = g.lacks(now, g.waiting); l != lacksNothing || g.ready.n > 0 {
		return g.wait(w, cmp.Or(l, lacksRate), waiterReady, &g.ready, now)
	}
	g.counted(w, now)
	g.passes(w, now)
	return lacksNothing, false
}

// wait puts a waiter into a queue, unless too many wait or it would have to wait too long.
func (g *gate) wait(w *waiter, l lack, state waiterState, queue *waiters, now time.Duration) (_ lack, waits bool) {
	full := g.waiting >= g.limits.most || w.address != nil && state == waiterBlocked && w.address.waiters.n >= g.limits.mostFromAddress
	switch {
	case g.limits.longest > 0 && g.expected(w.address) > g.limits.longest:
		return l, false
	case full:
		return lacksQueue, false
	case state == waiterBlocked:
		g.blocked[w.address] = struct{}{}
	default:
		g.counted(w, now)
	}
	w.state = state
	queue.push(w)
	if g.limits.hold > 0 {
		w.until = now + g.limits.hold
		g.held = append(g.held, w)
	}
	if g.waiting++; g.waiting == 1 {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
	return l, true
}

// expected is how long one more of an address would wait for the rates.
func (g *gate) expected(a *address) (d time.Duration) {
	if a != nil && g.limits.addressPerSecond > 0 {
		d += time.Duration(a.waiters.n) * time.Second / time.Duration(g.limits.addressPerSecond)
	}
	if g.limits.perSecond > 0 {
		d += time.Duration(g.ready.n) * time.Second / time.Duration(g.limits.perSecond)
	}
	return d
}

// passes lets a waiter go on.
func (g *gate) passes(w *waiter, now time.Duration) {
	if g.limits.perSecond > 0 {
		g.rate.allow(now)
	}
	w.state = waiterPassed
}

// counted takes a waiter past its address's limits.
func (g *gate) counted(w *waiter, now time.Duration) {
	if a := w.address; a != nil {
		if g.limits.addressCount > 0 {
			a.count++
		}
		if g.limits.addressPerSecond > 0 {
			a.rate.allow(now)
		}
	}
}

// lacks is what the gateway lacks for one more where so many others wait.
func (g *gate) lacks(now time.Duration, waiting int) lack {
	switch {
	case g.room != nil && !g.room(waiting):
		return lacksRoom
	case g.limits.perSecond > 0 && !g.rate.has(now):
		return lacksRate
	}
	return lacksNothing
}

// addressLacks is what an address lacks for one more.
func (g *gate) addressLacks(a *address, now time.Duration) lack {
	switch {
	case g.limits.addressCount > 0 && a.count >= g.limits.addressCount:
		return lacksAddressRoom
	case g.limits.addressPerSecond > 0 && !a.rate.has(now):
		return lacksAddressRate
	}
	return lacksNothing
}

// addressFor returns what is kept of an address; nil if there is no room for it.
func (g *gate) addressFor(key netip.Addr) *address {
	a := g.addresses[key]
	if a == nil && len(g.addresses) < maxAddresses {
		a = &address{key: key, rate: bucketOf(g.limits.addressPerSecond, float64(g.limits.addressPerSecond))}
		g.addresses[key] = a
	}
	return a
}

// abandon takes a waiter out, wherever it is: nobody goes on with it.
func (g *gate) abandon(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.takeOut(w)
}

// takeOut takes a waiter out and returns what it lacked.
func (g *gate) takeOut(w *waiter) (l lack) {
	switch w.state {
	case waiterOut:
		return lacksNothing
	case waiterBlocked:
		l = cmp.Or(g.addressLacks(w.address, g.clock()), lacksAddressRate)
		g.unblock(w.address, w)
		g.waiting--
	case waiterReady:
		g.ready.remove(w)
		g.waiting--
		l = cmp.Or(g.lacks(g.clock(), g.waiting), lacksRate) // those before it have the next places
	}
	if w.state != waiterBlocked {
		g.uncount(w.address)
	}
	w.state = waiterOut
	return l
}

// leave ends what has passed, of an address.
func (g *gate) leave(peer netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uncount(g.addresses[addressOf(peer)])
}

func (g *gate) uncount(a *address) {
	if a != nil && g.limits.addressCount > 0 {
		a.count--
	}
}

// unblock takes a waiter out of its address's queue.
func (g *gate) unblock(a *address, w *waiter) {
	a.waiters.remove(w)
	if a.waiters.n == 0 {
		delete(g.blocked, a)
	}
}

// waitingNow is how many wait.
func (g *gate) waitingNow() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.waiting)
}

// delay is how long, roughly, who comes back should wait: until those that wait now have gone on.
func (g *gate) delay() time.Duration {
	if g.limits.perSecond == 0 {
		return 0
	}
	return time.Duration(g.waitingNow()) * time.Second / time.Duration(g.limits.perSecond)
}

// run lets those go on who may, until ctx ends.
func (g *gate) run(ctx context.Context) {
	step := time.NewTicker(gateStep)
	defer step.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		for left := true; left; left = g.step() {
			select {
			case <-ctx.Done():
				return
			case <-step.C:
			}
		}
	}
}

// step lets those go on who may now, and reports whether some still wait.
func (g *gate) step() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	for a := range g.blocked { // in random order: no address goes before others for long
		for a.waiters.n > 0 && g.addressLacks(a, now) == lacksNothing {
			w := a.waiters.first
			g.unblock(a, w)
			g.counted(w, now)
			w.state = waiterReady
			g.ready.push(w)
		}
	}
	// A loop that is late does not get more than a burst: it would do all of it at once.
	for g.ready.n > 0 && float64(g.under) < g.rate.burst && g.lacks(now, g.waiting-1) == lacksNothing {
		w := g.ready.first
		g.under++
		g.ready.remove(w)
		g.waiting--
		g.passes(w, now)
		w.done(lacksNothing)
	}
	g.expire(now)
	return g.waiting > 0
}

// begun says that the loop of one that was told to go on has come to it.
func (g *gate) begun() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under--
}

// expire refuses what has waited in vain.
func (g *gate) expire(now time.Duration) {
	n := 0
	for _, w := range g.held {
		waits := w.state == waiterBlocked || w.state == waiterReady
		if waits && w.until > now {
			break
		}
		if waits {
			w.done(g.takeOut(w))
		}
		g.held[n] = nil
		n++
	}
	if g.held = g.held[n:]; g.waiting == 0 {
		g.held = nil
	}
}

// sweep forgets addresses of which nothing need be known. It looks at some, another time at others.
func (g *gate) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, looked := g.clock(), 0
	for key, a := range g.addresses {
		if a.count == 0 && a.waiters.n == 0 && (g.limits.addressPerSecond == 0 || a.rate.full(now)) {
			delete(g.addresses, key)
		}
		if looked++; looked == sweepAtOnce {
			return
		}
	}
}
