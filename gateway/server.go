package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/phxgate/phxgate/gateway/rules"
)

// Server is one gateway: sockets on event loops, channels in the middle, a bus behind. It implements [Inbox] for that bus.
type Server struct {
	cfg        Config
	log        *slog.Logger
	bus        Bus
	authorizer Authorizer
	hub        *hub
	stats      *stats
	loops      []*loop
	rules      atomic.Pointer[rules.Set]
	started    time.Time
	pages      *pages

	open atomic.Int64  // connections that are held, upgraded or not
	next atomic.Uint32 // which loop gets the next one
	lag  lag

	draining          atomic.Bool   // it goes away, and says so
	shut              atomic.Bool   // no new sockets
	closing           chan struct{} // closed by Close: a drain has no time left
	closed            sync.Once
	handshakes, joins *gate // joins: nil where they have no limits

	pace  *rate.Limiter // of sockets that are closed one by one, but for a drain's, which has its own
	fleet *fleet        // nil: alone

	inboundBytes  atomic.Int64 // held by incomplete frames and messages
	waitingBytes  atomic.Int64 // held by what waits at channels
	outboundBytes atomic.Int64 // held by what waits for sockets, all loops together
	paramsBytes   atomic.Int64 // held by join params, for rechecks

	recheckPace *rate.Limiter // of rechecks, on all loops
	rechecking  atomic.Int64  // rechecks that wait for the authorizer

	streams  sync.WaitGroup // goroutines of sockets that are streams
	warnings *rate.Limiter  // of log lines that a client can cause
	filters  filterPool
	users    *users
}

var _ Inbox = (*Server)(nil)

// New makes a gateway. Give it to its bus as inbox, then call Serve.
func New(cfg Config, bus Bus, authorizer Authorizer) (*Server, error) {
	if cfg.Loops == 0 {
		cfg.Loops = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	if cfg.Loops > 64 {
		cfg.Loops = 64
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	srv := &Server{
		cfg: cfg, log: cfg.Log, bus: bus, authorizer: authorizer, stats: newStats(), started: time.Now(),
		hub: newHub(bus, cfg.TopicLinger), warnings: rate.NewLimiter(5, 20), users: newUsers(cfg.UserLimits),
		recheckPace: rate.NewLimiter(rate.Limit(cfg.RechecksPerSecond), max(cfg.RechecksPerSecond/10, 1)),
		filters:     filterPool{most: runtime.GOMAXPROCS(0)}, closing: make(chan struct{}), pace: rate.NewLimiter(rate.Limit(cfg.DrainRate), cfg.DrainRate/20+1),
	}
	srv.handshakes, srv.joins = srv.newGates()
	if cfg.Fleet != nil {
		srv.fleet = newFleet(srv)
	}
	srv.rules.Store(cfg.Rules)
	for i := range cfg.Loops {
		l, err := newLoop(srv, i)
		if err != nil {
			for _, l := range srv.loops {
				l.poller.close()
			}
			return nil, err
		}
		srv.loops = append(srv.loops, l)
	}
	return srv, nil
}

// SetRules exchanges the channel rules; they hold from the next event or join.
func (srv *Server) SetRules(set *rules.Set) { srv.rules.Store(set) }

// warn logs what clients can cause, at a limited rate: all of it is counted in metrics.
func (srv *Server) warn(msg string, args ...any) {
	if srv.warnings.Allow() {
		srv.log.Warn(msg, args...)
	}
}

// ID is the gateway id.
func (srv *Server) ID() string { return srv.cfg.ID }

// Draining reports whether the gateway goes away.
func (srv *Server) Draining() bool { return srv.draining.Load() }

// Close takes all time from a drain, one that is under way or that will be: sockets are closed at once.
func (srv *Server) Close() { srv.closed.Do(func() { close(srv.closing) }) }

// clock is the time since the server was made, never 0.
func (srv *Server) clock() time.Duration { return time.Since(srv.started) + 1 }

// tick is the loops' time.
func (srv *Server) tick() tick { return tick(srv.clock()/tickLength) + 1 }

// Serve accepts sockets on ln until ctx ends, then drains (drain.go). It returns when all sockets are gone or drainTimeout has passed since ctx ended, and everything it
// started has ended. An error means that the listener failed; the sockets were drained all the same. A Server serves once.
func (srv *Server) Serve(ctx context.Context, ln net.Listener, drainTimeout time.Duration) error {
	var loops, helpers sync.WaitGroup
	for _, l := range srv.loops {
		loops.Go(l.run)
	}
	helping, stopHelping := context.WithCancel(context.Background())
	helpers.Go(func() { srv.keepTime(helping) })
	helpers.Go(func() { srv.handshakes.run(helping) })
	if srv.joins != nil {
		helpers.Go(func() { srv.joins.run(helping) })
	}
	srv.pages = newPages(ln.Addr())
	var web *http.Server
	if srv.cfg.Handler != nil {
		web = &http.Server{Handler: srv.cfg.Handler, ReadHeaderTimeout: headTimeout, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug)}
		helpers.Go(func() { _ = web.Serve(srv.pages) })
	}
	accepting, stopAccepting := context.WithCancel(context.Background())
	drainBy := make(chan time.Time, 1)
	helpers.Go(func() {
		defer stopAccepting()
		select {
		case <-ctx.Done():
		case <-accepting.Done(): // the listener failed
		}
		drainBy <- time.Now().Add(drainTimeout)
		srv.announceDrain(accepting.Done())
	})
	err := srv.acceptAll(accepting, ln)
	stopAccepting()
	ln.Close()
	srv.drain(<-drainBy)
	loops.Wait()
	if web != nil {
		web.Close()
	}
	srv.pages.Close()
	stopHelping()
	helpers.Wait()
	if srv.fleet != nil {
		srv.fleet.announce(Gone)
	}
	srv.streams.Wait()
	return err
}

// keepTime moves the loops' time on, ends topics that lingered, and forgets users who are gone.
func (srv *Server) keepTime(ctx context.Context) {
	t := time.NewTicker(tickLength)
	defer t.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			for _, l := range srv.loops {
				l.mailbox.post(tickMail(srv.tick()))
				l.mailbox.post(lagMail(now))
			}
			if now.Sub(swept) >= time.Second {
				swept = now
				srv.hub.sweep(now)
				srv.users.sweep(srv.clock())
				srv.handshakes.sweep()
				if srv.joins != nil {
					srv.joins.sweep()
				}
			}
			if srv.fleet != nil {
				srv.fleet.tick(now)
			}
		}
	}
}

// nextLoop spreads connections over the loops.
func (srv *Server) nextLoop() *loop {
	return srv.loops[int(srv.next.Add(1))%len(srv.loops)]
}

// ConnectionSlack is how many connections beyond MAX_CONNECTIONS are taken to be told 503; more are closed at once.
const ConnectionSlack = 256

// room counts a new connection; false if there are too many even to say so.
func (srv *Server) room() bool {
	if srv.open.Add(1) > int64(srv.cfg.MaxConnections)+ConnectionSlack {
		srv.open.Add(-1)
		srv.stats.refusedConnections.add(1)
		return false
	}
	return true
}

// acceptStreams accepts connections that get goroutines of their own.
func (srv *Server) acceptStreams(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if isFatalAccept(err) {
				return fmt.Errorf("accept: %w", err)
			}
			srv.pauseAccept(err)
			continue
		}
		if !srv.room() {
			conn.Close()
			continue
		}
		srv.nextLoop().adoptStream(conn)
	}
}

// pauseAccept waits a moment before accepting again: the process has no descriptor left, or the network has a moment of its own.
func (srv *Server) pauseAccept(err error) {
	srv.log.Warn("accept paused", "err", err)
	pause := time.NewTimer(50 * time.Millisecond)
	defer pause.Stop()
	<-pause.C
}
