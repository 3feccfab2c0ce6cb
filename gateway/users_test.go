package gateway

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

func (us *users) count() (here, gone int) {
	for i := range us.shards {
		sh := &us.shards[i]
		sh.mu.Lock()
		here, gone = here+len(sh.here), gone+len(sh.gone)
		sh.mu.Unlock()
	}
	return here, gone
}

func wantUsers(t *testing.T, us *users, here, gone int) {
	t.Helper()
	if h, g := us.count(); h != here || g != gone {
		t.Errorf("%d users are here and %d gone, want %d and %d", h, g, here, gone)
	}
}

// A budget is kept until it is full again: to reconnect gives no new one.
func TestUserComesBack(t *testing.T) {
	us := newUsers(Limits{Events: Limit{PerSecond: 1, Burst: 3}})
	if us.hold("") != nil || newUsers(Limits{}).hold("a") != nil {
		t.Error("a budget for an anonymous socket, or without a limit")
	}
	now := time.Hour
	u := us.hold("a")
	for range 3 {
		u.takeEvent(now)
	}
	if us.hold("a") != u {
		t.Error("two sockets of one user have two budgets")
	}
	us.release(u, now)
	wantUsers(t, us, 1, 0)
	us.release(u, now)
	wantUsers(t, us, 0, 1)
	now += time.Second
	us.sweep(now)
	if u = us.hold("a"); !u.takeEvent(now) || u.takeEvent(now) {
		t.Error("a second after three of three were taken there is not exactly one")
	}
	us.release(u, now)
	now += 2900 * time.Millisecond
	us.sweep(now)
	wantUsers(t, us, 0, 1)
	now += 200 * time.Millisecond
	us.sweep(now)
	wantUsers(t, us, 0, 0)
	us.release(us.hold("b"), now) // used nothing
	wantUsers(t, us, 0, 0)
}

// Of those who are gone a bounded number is kept.
func TestUsersGoneAreBounded(t *testing.T) {
	us := newUsers(Limits{Joins: Limit{PerSecond: 1e-3, Burst: 1}})
	for n := range maxGone + maxGone/4 {
		u := us.hold(fmt.Sprint(n))
		u.takeJoin(1)
		us.release(u, 1)
	}
	if here, gone := us.count(); here != 0 || gone > maxGone || gone < maxGone*9/10 {
		t.Errorf("%d here, %d gone, want none and nearly %d", here, gone, maxGone)
	}
}

// Loops share a user's budget: whatever they do at once, no more than the burst gets through.
func TestUserLimitOverLoops(t *testing.T) {
	const loops, burst = 8, 1000

	l, _ := newTestLoop(t, func(cfg *Config) { cfg.Loops, cfg.UserLimits = loops, onlyOnce(burst) })
	srv := l.srv
	var allowed atomic.Int64
	var all sync.WaitGroup
	for _, l := range srv.loops { // each loop's own goroutine
		all.Go(func() {
			for range 20 {
				srv.open.Add(1)
				s := l.adopt(&fakeTransport{}, -1, netip.MustParseAddr("127.0.0.1"))
				s.state, s.serializer = open, phx.V2
				l.setID(s, "user:1")
				ch := &channel{socket: s}
				for range burst / 50 {
					if l.allowEvent(ch, nil) {
						allowed.Add(1)
					}
				}
				l.abort(s, causeClient) // sometimes the last of its user, as others connect
			}
		})
	}
	all.Go(func() {
		for range 1000 {
			srv.users.sweep(srv.clock())
		}
	})
	all.Wait()
	if n := allowed.Load(); n != burst {
		t.Errorf("%d events were allowed, want %d", n, burst)
	}
	if n := l.limitedBy(limitedUserEvent); n != loops*20*burst/50-burst {
		t.Errorf("%d were counted as limited", n)
	}
	wantUsers(t, srv.users, 0, 1)
}

// onlyOnce is a limit that does not refill while a test runs.
func onlyOnce(burst int) Limits { return Limits{Events: Limit{PerSecond: 1e-6, Burst: burst}} }
