package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/admin"
	"github.com/phxgate/phxgate/internal/settings"
	"github.com/phxgate/phxgate/nats"
	"github.com/phxgate/phxgate/presence"
)

// serve runs one gateway until SIGTERM or SIGINT.
func serve() int {
	s, err := load(settings.Environment())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log := settings.NewLogger(s.LogLevel)
	ctx, now := untilSignals()
	pages := childPages()
	if pages != nil {
		ctx = untilParentEnds(ctx)
	}
	if err := runGateway(ctx, now, s, log, pages); err != nil {
		log.Error("gateway", "err", err)
		return 1
	}
	return 0
}

// runGateway builds a gateway of the settings, runs it until ctx ends, and drains it, until now ends. pages serves paths that are no sockets; nil: 404.
func runGateway(ctx, now context.Context, s *config, log *slog.Logger, pages http.Handler) error {
	if s.GatewayID == "" {
		s.GatewayID = gatewayID(strings.ToLower(rand.Text()[:8]))
	}
	log = log.With("gateway", s.GatewayID)
	subjects, err := nats.NewSubjects(s.Prefix)
	if err != nil {
		return fmt.Errorf("SUBJECT_PREFIX: %w", err)
	}
	ln, err := settings.Listen("LISTEN", s.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	if s.TLSCert != "" {
		if ln, err = listenTLS(ln, s.TLSCert, s.TLSKey, log); err != nil {
			return err
		}
	}
	adminLn, err := settings.Listen("ADMIN_LISTEN", s.AdminListen)
	if err != nil {
		return err
	}
	defer adminLn.Close()
	conn := s.NATS.Conn("phxgate-gateway/"+s.GatewayID, log)
	bus, err := nats.Dial(conn, subjects, s.GatewayID)
	if err != nil {
		return err
	}
	var authorizer gateway.Authorizer = nats.NewAuthorizer(bus, time.Duration(s.AuthzTimeout))
	if s.ConnectAuth == "allow" {
		authorizer = gateway.AllowConnects{Authorizer: authorizer}
	}
	tokens := s.tokenPool(log)
	if tokens != nil {
		authorizer = &tokenAuthorizer{Authorizer: authorizer, tokens: tokens, asks: s.ConnectAuth == "authz"}
	}
	cfg := s.gatewayConfig()
	cfg.Log, cfg.Handler = log, pages
	if cfg.ShedTolerance > 0 {
		cfg.Fleet = bus
	}
	tracker := presence.NewTracker(presence.TrackerConfig{Gateway: s.GatewayID, Linger: time.Duration(s.Linger), Log: log}, bus.Presence())
	cfg.Presence = tracker
	bus.SetPresence(tracker)
	bus.BoundInbox(int(s.InboxBytes))
	srv, err := gateway.New(cfg, bus, authorizer)
	if err != nil {
		return err
	}
	if err := bus.Start(srv); err != nil {
		return err
	}
	ops, err := admin.New(func() error { return ready(srv, bus, time.Duration(s.ReadyGrace)) }, log)
	if err != nil {
		return err
	}
	if err := errors.Join(srv.RegisterMetrics(ops.Meter()), bus.RegisterMetrics(ops.Meter()), tracker.RegisterMetrics(ops.Meter())); err != nil {
		return err
	}
	stopAPI, err := startAPI(s, subjects, ops, log)
	if err != nil {
		return err
	}
	log.Info("gateway listens", "listen", ln.Addr().String(), "socket", cfg.SocketPath+"/websocket", "admin", adminLn.Addr().String(), "nats", conn.Redacted())

	adminCtx, stopAdmin := context.WithCancel(context.Background())
	defer stopAdmin()
	var side errgroup.Group
	side.Go(func() error { tracker.Run(adminCtx, srv); return nil })
	side.Go(func() error { return ops.Serve(adminCtx, adminLn) })
	side.Go(func() error { return reloadRules(adminCtx, s.ChannelsFile, srv, log) })
	if tokens != nil {
		side.Go(func() error { tokens.Run(adminCtx); return nil })
	}

	stopHurry := context.AfterFunc(now, srv.Close)
	defer stopHurry()
	// A part of the drain time is kept for publishing the last messages.
	forBus := min(time.Duration(s.DrainTimeout)/5, time.Second)
	serveErr := srv.Serve(ctx, ln, time.Duration(s.DrainTimeout)-forBus)
	if now.Err() != nil {
		forBus = min(forBus, hurry/4)
	}
	rest, cancel := context.WithTimeout(context.Background(), forBus)
	defer cancel()
	tracker.Depart(rest)
	stopAPI(rest)
	bus.Close(rest)
	stopAdmin()
	return errors.Join(serveErr, side.Wait())
}

// ready says why the gateway is not ready.
func ready(srv *gateway.Server, bus *nats.Bus, grace time.Duration) error {
	if srv.Draining() {
		return errors.New("draining")
	}
	return bus.Ready(grace)
}

// reloadRules rereads the channel rules on SIGHUP; a file with a mistake is refused and the old rules stay.
func reloadRules(ctx context.Context, file string, srv *gateway.Server, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if file == "" {
				continue
			}
			set, err := rules.Load(file)
			if err != nil {
				log.Error("channel rules not reloaded: the old ones stay", "err", err)
				continue
			}
			srv.SetRules(set)
			log.Info("channel rules reloaded", "file", file, "rules", len(set.Rules))
		}
	}
}

// listenTLS puts TLS on a listener; the files are reread when they change.
func listenTLS(ln net.Listener, certFile, keyFile string, log *slog.Logger) (net.Listener, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("TLS_CERT_FILE, TLS_KEY_FILE: %w", err)
	}
	return tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"http/1.1"}}), nil
}
