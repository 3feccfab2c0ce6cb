package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

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
}

// hooks are told of what happens to a link, one after the other, on a goroutine of nats.go. Any may be nil.
type hooks struct {
	up         func(again bool)
	down       func()
	failed     func(error)        // nats.go's asynchronous errors
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
	l.downSince.Store(time.Now().UnixNano())
	return l.dial(nil)
}

// dial makes a connection; before is called with it before any handler is.
func (l *Link) dial(before func(*natsgo.Conn)) error {
	ready := make(chan struct{}) // closed when the handlers may run: nats.go may call them before Connect returns
	defer close(ready)
	conn, err := l.cfg.connect(
		natsgo.ConnectHandler(func(nc *natsgo.Conn) { <-ready; l.connected(nc, false) }),
		natsgo.ReconnectHandler(func(nc *natsgo.Conn) { <-ready; l.connected(nc, true) }),
		natsgo.DisconnectErrHandler(func(nc *natsgo.Conn, err error) { <-ready; l.disconnected(nc, err) }),
		natsgo.ClosedHandler(func(nc *natsgo.Conn) { <-ready; l.givenUp(nc) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { <-ready; l.asyncError(err) }),
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
	l.up.Store(true)
	l.downSince.Store(0)
	l.everUp.Store(true)
	l.log.Info("connected to NATS", "server", nc.ConnectedServerName(), "url", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())
	if l.hooks.up != nil {
		l.hooks.up(again)
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
	if l.hooks.failed != nil {
		l.hooks.failed(err)
		return
	}
	l.log.Warn("NATS", "err", err)
}

// Available reports whether there is a connection now.
func (l *Link) Available() bool { return l.up.Load() }

// Ready says why a program that needs NATS is not ready; nil if it is. A hiccup shorter than grace does not count once there was a connection.
func (l *Link) Ready(grace time.Duration) error {
	if l.up.Load() {
		return nil
	}
	if !l.everUp.Load() {
		return errors.New("NATS is not there yet")
	}
	since := l.downSince.Load()
	if away := time.Since(time.Unix(0, since)); since != 0 && away > grace {
		return fmt.Errorf("NATS has been away for %v", away.Round(time.Second))
	}
	return nil
}

// Close ends the link.
func (l *Link) Close() {
	l.closing.Store(true)
	l.nc().Close()
	l.redials.Wait()
}

// Redacted is the configured URL without passwords, for logs.
func (c *ConnConfig) Redacted() string {
	parts := strings.Split(c.URL, ",")
	for i, part := range parts {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil && u.User != nil {
			if _, has := u.User.Password(); has {
				parts[i] = u.Redacted()
			} else {
				u.User = url.User("xxxxx") // a bare user is a token
				parts[i] = u.String()
			}
		}
	}
	return strings.Join(parts, ",")
}
