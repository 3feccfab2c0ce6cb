package balancer

import (
	"sync"
	"time"
)

// BackendStat is what is known of one backend at one moment.
type BackendStat struct {
	// Addr is the backend's host:port, as given to [New].
	Addr string
	// Up tells whether new connections may go there. A backend is taken to be up
	// until a dial shows otherwise.
	Up bool
	// Open counts the connections to the backend, those being dialled included.
	Open int
}

// backend is one target. Its address is fixed; the rest is guarded by pool.mu.
type backend struct {
	addr string
	open int // >= 0

	// downUntil is zero while the backend is up. Otherwise it is the end of the time
	// for which no client is sent there; past it a client may try again, so that a
	// prober held up elsewhere cannot keep the backend out.
	downUntil time.Time
}

func (b *backend) liveAt(now time.Time) bool { return !now.Before(b.downUntil) }

// pool holds the backends and decides which one is next. Times are arguments, so
// that it has no clock of its own.
type pool struct {
	mu       sync.Mutex
	backends []*backend // the slice is fixed; mu guards the fields of its elements
	next     int        // where the search begins, so that ties go round; guarded by mu
}

func newPool(addrs []string) *pool {
	p := &pool{backends: make([]*backend, 0, len(addrs))}
	for _, addr := range addrs {
		p.backends = append(p.backends, &backend{addr: addr})
	}
	return p
}

// acquire returns the live backend with the fewest open connections that is not
// in tried, and counts a connection to it; nil if there is none. The caller gives
// it back with release.
func (p *pool) acquire(now time.Time, tried map[*backend]bool) *backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *backend
	bestAt := 0
	for i := range p.backends {
		at := (p.next + i) % len(p.backends)
		b := p.backends[at]
		if tried[b] || !b.liveAt(now) {
			continue
		}
		if best == nil || b.open < best.open {
			best, bestAt = b, at
		}
	}
	if best != nil {
		best.open++
		p.next = (bestAt + 1) % len(p.backends)
	}
	return best
}

func (p *pool) release(b *backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.open--
}

// markDown keeps clients away from b until the given time. It reports whether b
// was up before.
func (p *pool) markDown(b *backend, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	wasUp := b.downUntil.IsZero()
	b.downUntil = until
	return wasUp
}

// markUp lets clients go to b again. It reports whether b was down before.
func (p *pool) markUp(b *backend) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	wasDown := !b.downUntil.IsZero()
	b.downUntil = time.Time{}
	return wasDown
}

// down lists the backends that no dial has reached since they were marked down.
func (p *pool) down() []*backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	var down []*backend
	for _, b := range p.backends {
		if !b.downUntil.IsZero() {
			down = append(down, b)
		}
	}
	return down
}

func (p *pool) stats(now time.Time) []BackendStat {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := make([]BackendStat, 0, len(p.backends))
	for _, b := range p.backends {
		stats = append(stats, BackendStat{Addr: b.addr, Up: b.liveAt(now), Open: b.open})
	}
	return stats
}
