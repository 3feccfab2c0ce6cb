package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"golang.org/x/time/rate"
)

// deniedEvery and deniedBurst limit how often a missing permission is logged: clients choose topics, and so how often one is missed.
const (
	deniedEvery = 5 * time.Second
	deniedBurst = 5
)

// maxTold bounds what a link remembers of what it logged already.
const maxTold = 64

// Link is a connection to NATS that comes and goes, and what is known of it. NATS need not be there when it is opened.
type Link struct {
	cfg   ConnConfig
	log   *slog.Logger
	hooks hooks
	conn  atomic.Pointer[natsgo.Conn] // exchanged where nats.go gave one up

	closing atomic.Bool
	redials sync.WaitGroup

	up         atomic.Bool  // connected now
	everUp     atomic.Bool  // was connected once
	downSince  atomic.Int64 // unix nanoseconds; 0 while up
	maxPayload atomic.Int64 // bytes of a message with its headers
	server     atomic.Value // string: name of the server it is, or was last, connected to

	tooOld  atomic.Pointer[error] // what is wrong with the server of this connection; nil: nothing
	failure atomic.Pointer[error] // why the last attempt to connect failed; nil: none did since the link was up

	told   told // failures that were logged since the link was up
	old    told // servers that were logged as too old
	denied *rate.Limiter
}

// hooks are told of what happens to a link, one after the other, on a goroutine of nats.go. Any may be nil.
type hooks struct {
	up         func(again bool)
	down       func()
	failed     func(error)        // nats.go's asynchronous errors
	denied     func(error)        // every missing permission, before it is logged
	discovered func()             // other servers of the cluster
	replaced   func(*natsgo.Conn) // a new connection takes the place of one that nats.go gave up; it is not up yet and has no subscriptions
}

// Open opens a link.
func Open(cfg ConnConfig) (*Link, error) {
	l := &Link{}
	return l, l.open(cfg, hooks{})
}

func (l *Link) open(cfg ConnConfig, h hooks) error {
	l.cfg, l.log, l.hooks = cfg, cfg.Log, h
	l.denied = rate.NewLimiter(rate.Every(deniedEvery), deniedBurst)
	l.downSince.Store(time.Now().UnixNano())
	return l.dial(nil)
}

// dial makes a connection; before is called with it before any handler is.
func (l *Link) dial(before func(*natsgo.Conn)) error {
	ready := make(chan struct{}) // closed when the handlers may run: nats.go may call them before Connect returns
	defer close(ready)
	var conn *natsgo.Conn
	var err error
	conn, err = l.cfg.connect(
		natsgo.ConnectHandler(func(nc *natsgo.Conn) { <-ready; l.connected(nc, false) }),
		natsgo.ReconnectHandler(func(nc *natsgo.Conn) { <-ready; l.connected(nc, true) }),
		natsgo.DisconnectErrHandler(func(nc *natsgo.Conn, err error) { <-ready; l.disconnected(nc, err) }),
		natsgo.ClosedHandler(func(nc *natsgo.Conn) { <-ready; l.givenUp(nc) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { <-ready; l.asyncError(err) }),
		natsgo.ReconnectErrHandler(func(_ *natsgo.Conn, err error) { <-ready; l.failing(err) }),
		natsgo.CustomReconnectDelay(func(int) time.Duration { <-ready; return l.pause(conn) }),
		natsgo.DiscoveredServersHandler(func(*natsgo.Conn) {
			if <-ready; l.hooks.discovered != nil {
				l.hooks.discovered()
			}
		}),
	)
	if err != nil {
		return err
	}
	l.conn.Store(conn)
	if before != nil {
		before(conn)
	}
	return nil
}

// nc is the connection now.
func (l *Link) nc() *natsgo.Conn { return l.conn.Load() }

// givenUp replaces a connection that nats.go closed for good, which it does on errors that it takes for hopeless: a protocol line too long, an unknown -ERR.
func (l *Link) givenUp(nc *natsgo.Conn) {
	if l.closing.Load() {
		return
	}
	l.log.Error("connection to NATS was given up and is replaced", "err", nc.LastError())
	if l.hooks.down != nil {
		l.hooks.down()
	}
	l.redials.Go(func() {
		for !l.closing.Load() {
			err := l.dial(l.hooks.replaced)
			if err == nil {
				if l.closing.Load() {
					l.nc().Close()
				}
				return
			}
			l.log.Error("connection to NATS is not replaced", "err", err)
			pause := time.NewTimer(redialWait)
			<-pause.C
		}
	})
}

// redialWait is the time between attempts to replace a connection. Close waits for it.
const redialWait = 500 * time.Millisecond

func (l *Link) connected(nc *natsgo.Conn, again bool) {
	again = again || l.everUp.Load()
	l.maxPayload.Store(nc.MaxPayload())
	l.server.Store(nc.ConnectedServerName())
	l.checkServer(nc.ConnectedServerVersion(), nc.ConnectedAddr())
	l.failure.Store(nil)
	l.told.clear()
	l.up.Store(true)
	l.downSince.Store(0)
	l.everUp.Store(true)
	l.log.Info("connected to NATS", "server", nc.ConnectedServerName(), "url", redact(nc.ConnectedUrl()), "version", nc.ConnectedServerVersion())
	if l.hooks.up != nil {
		l.hooks.up(again)
	}
}

// checkServer notes whether the server is too old, and says so once for each server and version. version is "" where the connection is gone again.
func (l *Link) checkServer(version, addr string) {
	if version == "" {
		return
	}
	err := checkVersion(version)
	if err == nil {
		l.tooOld.Store(nil)
		return
	}
	l.tooOld.Store(&err)
	if l.old.first(addr + " " + version) {
		l.log.Error(err.Error(), "addr", addr)
	}
}

func (l *Link) disconnected(nc *natsgo.Conn, err error) {
	l.downSince.CompareAndSwap(0, time.Now().UnixNano()) // first: who sees that it is down reads since when
	l.up.Store(false)
	if nc.IsClosed() {
		return // on purpose, or givenUp goes on
	}
	l.log.Warn("connection to NATS lost", "err", err)
	if l.hooks.down != nil {
		l.hooks.down()
	}
}

func (l *Link) asyncError(err error) {
	switch {
	case errors.Is(err, natsgo.ErrPermissionViolation):
		if l.hooks.denied != nil {
			l.hooks.denied(err)
		}
		if l.denied.Allow() {
			l.log.Error("NATS denies what this program needs; see docs/nats.md for its permissions", "err", err)
		}
	case !l.up.Load() && !errors.Is(err, natsgo.ErrSlowConsumer):
		l.failing(err) // a refused login, told on every attempt
	case l.hooks.failed != nil:
		l.hooks.failed(err)
	default:
		l.log.Warn("NATS", "err", err)
	}
}

// failing notes why an attempt to connect failed. It logs each reason once until the link is up.
func (l *Link) failing(err error) {
	l.failure.Store(&err)
	if l.told.first(err.Error()) {
		l.log.Warn("cannot connect to NATS; trying on", "err", err)
	}
}

// pause is how long nats.go waits after it has tried every server once. It is also where a refused login shows before the link was ever up: nats.go tells no
// handler of it then.
func (l *Link) pause(nc *natsgo.Conn) time.Duration {
	if err := nc.LastError(); err != nil {
		l.failing(err)
	}
	return reconnectWait + rand.N(reconnectJitter)
}

// Available reports whether there is a connection now.
func (l *Link) Available() bool { return l.up.Load() }

// Ready says why a program that needs NATS is not ready; nil if it is. A hiccup shorter than grace does not count once there was a connection; a server that is too
// old always does.
func (l *Link) Ready(grace time.Duration) error {
	if l.up.Load() {
		if err := l.tooOld.Load(); err != nil {
			return *err
		}
		return nil
	}
	var away error
	since := l.downSince.Load()
	switch gone := time.Since(time.Unix(0, since)); {
	case !l.everUp.Load():
		away = errors.New("NATS is not there yet")
	case since != 0 && gone > grace:
		away = fmt.Errorf("NATS has been away for %v", gone.Round(time.Second))
	default:
		return nil
	}
	if err := l.failure.Load(); err != nil {
		return fmt.Errorf("%w: %w", away, *err)
	}
	return away
}

// Close ends the link.
func (l *Link) Close() {
	l.closing.Store(true)
	l.nc().Close()
	l.redials.Wait()
}

// told is what was logged already.
type told struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first reports whether text is new. It forgets everything where it would remember more than maxTold.
func (t *told) first(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[text] {
		return false
	}
	if t.seen == nil || len(t.seen) >= maxTold {
		t.seen = map[string]bool{}
	}
	t.seen[text] = true
	return true
}

func (t *told) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.seen)
}
