package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// dialTimeout bounds the connect to one backend.
	dialTimeout = time.Second
	// downFor is how long a backend that could not be dialled gets no clients.
	downFor = time.Second
	// probeInterval is the time between two probes of a backend that is down. It is
	// shorter than downFor, so that a dead backend is found dead by a probe and not
	// by a client.
	probeInterval = 500 * time.Millisecond
	// acceptRetry is the wait after an accept that found no free descriptor.
	acceptRetry = 50 * time.Millisecond
)

// Balancer sends each TCP connection to the live backend with the fewest open
// connections. All methods may be called concurrently.
type Balancer struct {
	pool   *pool
	log    *slog.Logger
	dialer net.Dialer
}

// New returns a balancer over backends, each a host:port. A backend need not
// listen yet. Changes of a backend between up and down are logged to log; nil logs
// nothing.
func New(backends []string, log *slog.Logger) *Balancer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Balancer{
		pool:   newPool(backends),
		log:    log,
		dialer: net.Dialer{Timeout: dialTimeout},
	}
}

// Stats returns one entry per backend, in the order given to [New].
func (b *Balancer) Stats() []BackendStat { return b.pool.stats(time.Now()) }

// Serve accepts connections from ln and relays each to a backend, until ctx ends
// or ln breaks. It closes ln and every connection, and returns when all its
// goroutines have ended: nil if ctx ended, else the error of the accept. It is to
// be called once.
func (b *Balancer) Serve(ctx context.Context, ln net.Listener) error {
	// Of its own, so that a broken listener ends the connections too.
	ctx, cancel := context.WithCancel(ctx)
	var started sync.WaitGroup
	defer started.Wait()
	defer cancel()

	started.Go(func() {
		<-ctx.Done()
		ln.Close() // ends Accept
	})
	started.Go(func() { b.probe(ctx) })
	for {
		client, err := ln.Accept()
		switch {
		case err == nil:
			started.Go(func() { b.handle(ctx, client) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
			// Descriptors come back as connections end; giving up would end them all.
			b.log.Warn("accept", "error", err)
			wait(ctx, acceptRetry)
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// handle owns one client: it finds a backend and relays until the end.
func (b *Balancer) handle(ctx context.Context, client net.Conn) {
	defer client.Close()
	target, upstream := b.connect(ctx)
	if target == nil {
		b.log.Debug("no backend available", "client", client.RemoteAddr())
		return
	}
	defer b.pool.release(target)
	relay(ctx, client, upstream)
}

// connect dials live backends until one answers, each at most once; nil if there
// is none, or ctx ended. The caller closes the connection and releases the backend.
func (b *Balancer) connect(ctx context.Context) (*backend, net.Conn) {
	tried := make(map[*backend]bool)
	for {
		target := b.pool.acquire(time.Now(), tried)
		if target == nil {
			return nil, nil
		}
		if upstream := b.dial(ctx, target); upstream != nil {
			return target, upstream
		}
		b.pool.release(target)
		tried[target] = true
	}
}

// dial connects to target and marks it up or down by the result; nil if it cannot
// be reached.
func (b *Balancer) dial(ctx context.Context, target *backend) net.Conn {
	upstream, err := b.dialer.DialContext(ctx, "tcp", target.addr)
	switch {
	case err == nil:
		if b.pool.markUp(target) {
			b.log.Info("backend is up", "addr", target.addr)
		}
	case ctx.Err() != nil:
		// The dial was given up; that says nothing about the backend.
	case b.pool.markDown(target, time.Now().Add(downFor)):
		b.log.Warn("backend is down", "addr", target.addr, "error", err)
	}
	return upstream
}

// probe dials the backends that are down, until ctx ends.
func (b *Balancer) probe(ctx context.Context) {
	for wait(ctx, probeInterval) {
		for _, target := range b.pool.down() {
			if upstream := b.dial(ctx, target); upstream != nil {
				upstream.Close()
			}
		}
	}
}

// wait reports whether d went by before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
