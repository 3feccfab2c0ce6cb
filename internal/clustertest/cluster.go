// Package clustertest runs a fleet in one process: NATS servers, gateways on different ones, and clients that dial a gateway by number.
package clustertest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/phxtest"
	"github.com/phxgate/phxgate/nats"
	"github.com/phxgate/phxgate/presence"
)

// Options say what a cluster is made of.
type Options struct {
	Gateways int                   // default 1
	NATS     []string              // URLs of NATS servers; gateway i uses number i modulo their count. Default: one embedded server
	Prefix   string                // default "phx"
	Rules    string                // YAML; default: everybody may join room:*, and new_msg and typing are broadcast
	Allow    bool                  // connects are allowed without asking
	Mount    string                // default "/socket"
	Config   func(*gateway.Config) // changes what DefaultConfig says
	TLS      *tls.Config           // serve TLS: sockets are streams
	Killable bool                  // Kill may be used; sockets are streams then, since the harness holds their connections
	Linger   time.Duration         // of presences; default none
}

// DefaultRules are the rules of a cluster that was given none.
const DefaultRules = `
channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: new_msg, do: broadcast, reply: true}
      - {event: typing, do: broadcast_from}
      - {event: "*", do: call, timeout: 2s}
`

// Cluster is a running fleet. It ends with the test.
type Cluster struct {
	t        testing.TB
	opts     Options
	Gateways []*Gateway
}

// Gateway is one of a cluster's.
type Gateway struct {
	Server  *gateway.Server
	Bus     *nats.Bus
	Tracker *presence.Tracker
	Addr    string // host:port

	stop  context.CancelFunc
	done  chan error
	held  *heldListener // nil unless killable
	leave sync.Once     // the bus is closed once, by Kill or at the end of Serve
}

// Start runs a cluster and waits until every gateway is connected to NATS.
func Start(t testing.TB, opts Options) *Cluster {
	t.Helper()
	opts.Gateways = max(opts.Gateways, 1)
	if opts.Prefix == "" {
		opts.Prefix = "phx"
	}
	if opts.Rules == "" {
		opts.Rules = DefaultRules
		opts.Allow = true
	}
	if opts.Mount == "" {
		opts.Mount = "/socket"
	}
	if len(opts.NATS) == 0 {
		opts.NATS = []string{phxtest.StartNATS(t)}
	}
	c := &Cluster{t: t, opts: opts}
	for i := range opts.Gateways {
		c.Gateways = append(c.Gateways, c.start(i))
	}
	return c
}

func (c *Cluster) start(i int) *Gateway {
	c.t.Helper()
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatalf("gateway %d: %v", i, err)
		}
	}
	set, err := rules.Parse("rules.yaml", []byte(c.opts.Rules))
	must(err)
	subjects, err := nats.NewSubjects(c.opts.Prefix)
	must(err)
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("PHXTEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	cfg := gateway.DefaultConfig()
	cfg.ID = fmt.Sprintf("g%d-%s", i, rand.Text()[:6])
	cfg.Rules, cfg.SocketPath, cfg.Log = set, c.opts.Mount, log
	if c.opts.Config != nil {
		c.opts.Config(&cfg)
	}
	bus, err := nats.Dial(nats.ConnConfig{URL: c.opts.NATS[i%len(c.opts.NATS)], Name: cfg.ID, Log: log}, subjects, cfg.ID)
	must(err)
	var authorizer gateway.Authorizer = nats.NewAuthorizer(bus, cfg.AuthzTimeout)
	if c.opts.Allow {
		authorizer = gateway.AllowConnects{Authorizer: authorizer}
	}
	tracker := presence.NewTracker(presence.TrackerConfig{Gateway: cfg.ID, Linger: c.opts.Linger, Log: log}, bus.Presence())
	cfg.Presence, cfg.Fleet = tracker, bus
	bus.SetPresence(tracker)
	srv, err := gateway.New(cfg, bus, authorizer)
	must(err)
	must(bus.Start(srv))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	g := &Gateway{Server: srv, Bus: bus, Tracker: tracker, Addr: ln.Addr().String(), done: make(chan error, 1)}
	if c.opts.Killable {
		g.held = &heldListener{Listener: ln}
		ln = g.held
	}
	if c.opts.TLS != nil {
		ln = tls.NewListener(ln, c.opts.TLS)
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	tracking, stopTracking := context.WithCancel(context.Background())
	tracked := make(chan struct{}) // closed when the tracker has ended
	go func() { defer close(tracked); tracker.Run(tracking, srv) }()
	go func() {
		err := srv.Serve(ctx, ln, 5*time.Second)
		rest, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tracker.Depart(rest)
		stopTracking()
		<-tracked
		g.leaveNATS(rest)
		g.done <- err
	}()
	c.t.Cleanup(g.Drain)
	WaitFor(c.t, "connection to NATS", func() bool { return bus.Available() })
	return g
}

// Drain ends the gateway in good order, once.
func (g *Gateway) Drain() {
	g.stop()
	if err, ok := <-g.done; ok {
		if err != nil {
			panic(err)
		}
		close(g.done)
	}
}

// leaveNATS closes the bus; what it was given by then goes out while rest lasts.
func (g *Gateway) leaveNATS(rest context.Context) {
	g.leave.Do(func() { g.Bus.Close(rest) })
}

// URL is the WebSocket URL of gateway i, with a query such as "vsn=2.0.0".
func (c *Cluster) URL(i int, query string) string {
	scheme := "ws"
	if c.opts.TLS != nil {
		scheme = "wss"
	}
	return scheme + "://" + c.Gateways[i].Addr + c.opts.Mount + "/websocket?" + query
}

// Dial connects a V2 client to gateway i.
func (c *Cluster) Dial(i int, opts ...phxtest.Option) *phxtest.Client {
	c.t.Helper()
	return phxtest.Dial(c.t, c.URL(i, "vsn=2.0.0"), opts...)
}

// WaitFor waits until cond holds, for the usual patience.
func WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(phxtest.Patience())
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		<-poll.C
	}
}
