package presence

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Times of a life.
const (
	helloAfter   = 2 * time.Second // without a ping that names this incarnation
	helloEvery   = 500 * time.Millisecond
	drainTimeout = 500 * time.Millisecond // for the bucket to take note that the gateway drains, or has gone
)

// life is what a gateway is registered as.
type life struct {
	incarnation string
	lives       uint64 // counts them, so that answers to an earlier one are known
	op          uint64 // counts changes, for their ids
	registered  bool
	putting     bool // the registration is being stored
	draining    bool
	failing     bool // said in the log
	retryAt     time.Time
	pinged      time.Time
	greeted     time.Time
	noted       []func() // called when the registration is stored as it is now
	finished    func()   // where set, called when nothing is left to be stored
}

// begin takes a new incarnation.
func (t *Tracker) begin() {
	l := &t.life
	*l = life{incarnation: t.cfg.Gateway + "=" + strings.ToLower(rand.Text()[:8]), lives: l.lives + 1, draining: l.draining, pinged: time.Now(), noted: l.noted, finished: l.finished}
	t.register()
}

// register stores the registration.
func (t *Tracker) register() {
	l := &t.life
	if l.putting || !t.bus.Available() {
		return
	}
	l.putting = true
	lives, draining := l.lives, l.draining
	value := mustJSON(Registration{Draining: draining, Linger: t.cfg.Linger.Milliseconds()})
	t.bus.Store(l.incarnation, "", "", value, t.changeID(), func(_ uint64, err error) {
		t.do(func() {
			if l.lives != lives {
				return
			}
			l.putting = false
			if err != nil {
				l.retryAt = time.Now().Add(retryAfter)
				if !l.failing {
					l.failing = true
					t.log.Info("not registered for presence yet: is presence-svc there?", "err", err)
				}
				return
			}
			if l.draining != draining {
				t.register()
				return
			}
			if !l.registered {
				l.registered, l.failing, l.pinged = true, false, time.Now()
				t.log.Info("registered for presence", "incarnation", l.incarnation)
			}
			for _, f := range l.noted {
				f()
			}
			l.noted = nil
		})
	})
}

// live keeps the registration alive.
func (t *Tracker) live(now time.Time) {
	l := &t.life
	if !l.registered || len(l.noted) > 0 {
		if now.After(l.retryAt) {
			t.register()
		}
		return
	}
	if now.Sub(l.pinged) >= helloAfter && now.Sub(l.greeted) >= helloEvery && t.bus.Available() {
		l.greeted = now
		t.bus.Hello(mustJSON(Hello{Gateway: t.cfg.Gateway, Incarnation: l.incarnation}))
	}
}

// changeID is the id of one more change.
func (t *Tracker) changeID() string {
	t.life.op++
	return t.life.incarnation + "." + strconv.FormatUint(t.life.op, 36)
}

// reset takes a new incarnation, since the one that the gateway had is not believed any more, and stores all that its channels track anew.
func (t *Tracker) reset() {
	t.log.Warn("presence begins anew: this gateway was given up, or the bucket is another", "incarnation", t.life.incarnation)
	t.stats.resets.Add(1)
	t.begin()
	t.renew()
}

// Drain makes the bucket know that the gateway goes away, before its first socket is closed: users who come back elsewhere take their places over. It waits for that, at most for
// limit and half a second.
func (t *Tracker) Drain(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	t.await(ctx, func(noted func()) {
		t.life.draining = true
		if t.cfg.Linger == 0 || !t.life.registered {
			noted() // nobody's place is kept, or the bucket knows nothing of the gateway
			return
		}
		t.life.noted = append(t.life.noted, noted)
		t.register()
	})
}

// Depart is the end: it waits until the bucket has what the last channels left to do, at most until ctx ends and half a second. Where nothing lingers the registration goes too, else
// the presence service removes it in time.
func (t *Tracker) Depart(ctx context.Context) {
	t.await(ctx, func(gone func()) {
		t.life.finished = func() {
			if t.cfg.Linger > 0 || !t.life.registered {
				gone()
				return
			}
			t.bus.Store(t.life.incarnation, "", "", nil, t.changeID(), func(uint64, error) { gone() })
		}
	})
}

// finish says, to who waits for it, that nothing is left to be stored. Without a registration nothing can be.
func (t *Tracker) finish() {
	if f := t.life.finished; f != nil && (!t.life.registered || t.entries.settled()) {
		t.life.finished = nil
		f()
	}
}

// await has something done and waits until it is, at most until ctx ends and drainTimeout.
func (t *Tracker) await(ctx context.Context, f func(done func())) {
	done := make(chan struct{})
	t.do(func() { f(sync.OnceFunc(func() { close(done) })) })
	late := time.NewTimer(drainTimeout)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	case <-ctx.Done():
	}
}
