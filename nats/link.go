package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// Link is a connection to NATS that comes and goes, and what is known of it. NATS need not be there when it is opened.
type Link struct {
	conn  *natsgo.Conn
	log   *slog.Logger
	hooks hooks

	up         atomic.Bool  // connected now
	everUp     atomic.Bool  // was connected once
	downSince  atomic.Int64 // unix nanoseconds; 0 while up
	maxPayload atomic.Int64 // bytes of a message with its headers
}

// hooks are told of what happens to a link, one after the other, on a goroutine of nats.go. Any may be nil.
type hooks struct {
	up         func(again bool)
	down       func()
	failed     func(error) // nats.go's asynchronous errors
	discovered func()      // other servers of the cluster
}

// Open opens a link.
func Open(cfg ConnConfig) (*Link, error) {
	l := &Link{}
	return l, l.open(cfg, hooks{})
}

func (l *Link) open(cfg ConnConfig, h hooks) error {
	l.log, l.hooks = cfg.Log, h
	l.downSince.Store(time.Now().UnixNano())
	ready := make(chan struct{}) // closed when conn is set: nats.go may call the handlers before Connect returns
	defer close(ready)
	var err error
	l.conn, err = cfg.connect(
		natsgo.ConnectHandler(func(nc *natsgo.Conn) { <-ready; l.connected(nc, false) }),
		natsgo.ReconnectHandler(func(nc *natsgo.Conn) { <-ready; l.connected(nc, true) }),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) { <-ready; l.disconnected(err) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { <-ready; l.asyncError(err) }),
		natsgo.DiscoveredServersHandler(func(*natsgo.Conn) {
			if <-ready; h.discovered != nil {
				h.discovered()
			}
		}),
	)
	return err
}

func (l *Link) connected(nc *natsgo.Conn, again bool) {
	l.maxPayload.Store(nc.MaxPayload())
	l.up.Store(true)
	l.downSince.Store(0)
	l.everUp.Store(true)
	l.log.Info("connected to NATS", "server", nc.ConnectedServerName(), "url", nc.ConnectedUrlRedacted(), "version", nc.ConnectedServerVersion())
	if l.hooks.up != nil {
		l.hooks.up(again)
	}
}

func (l *Link) disconnected(err error) {
	l.downSince.CompareAndSwap(0, time.Now().UnixNano()) // first: who sees that it is down reads since when
	l.up.Store(false)
	if l.conn.IsClosed() {
		return
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
func (l *Link) Close() { l.conn.Close() }

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
