// Command presence-svc is the presence service that runs beside a fleet of gateways. All settings come from the environment; presence-svc --help lists
// them.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/phxgate/phxgate/internal/admin"
	"github.com/phxgate/phxgate/internal/settings"
	"github.com/phxgate/phxgate/nats"
	"github.com/phxgate/phxgate/presence"
)

// config is the service's settings.
type config struct {
	settings.NATS

	AdminListen  string            `env:"ADMIN_LISTEN" envDefault:":9091" help:"/healthz, /readyz, /metrics, /debug/pprof/"`
	DrainTimeout settings.Duration `env:"DRAIN_TIMEOUT" envDefault:"30s" help:"how long SIGTERM may take"`
	ReadyGrace   settings.Duration `env:"READY_GRACE" envDefault:"5s" help:"a NATS hiccup shorter than this does not make it unready"`

	settings.Presence

	LogLevel settings.LogLevel `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
}

func main() { os.Exit(run(os.Args[1:])) }

// run is the program: 0 when all went well, 1 when something failed, 2 for bad usage.
func run(args []string) int {
	if len(args) > 0 {
		help := fmt.Sprintf(`presence-svc: the presence service of a fleet of gateways.

It keeps who is on which topic in a JetStream KV bucket, tells clients by presence_diff, and notices gateways that die. Any number of replicas share the work.

usage: %s   serve, with settings from the environment

`, filepath.Base(os.Args[0])) + settings.Help[config]()
		if args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
			fmt.Print(help)
			return 0
		}
		fmt.Fprintf(os.Stderr, "presence-svc: unknown arguments %q\n\n%s", args, help)
		return 2
	}
	c := &config{}
	if err := errors.Join(settings.Parse(c, settings.Environment()), settings.CheckAddress("ADMIN_LISTEN", c.AdminListen), c.NATS.Check()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log := settings.NewLogger(c.LogLevel)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, c, log); err != nil {
		log.Error("presence-svc", "err", err)
		return 1
	}
	return 0
}

// serve runs the service until ctx ends.
func serve(ctx context.Context, c *config, log *slog.Logger) error {
	subjects, err := nats.NewSubjects(c.Prefix)
	if err != nil {
		return fmt.Errorf("SUBJECT_PREFIX: %w", err)
	}
	ln, err := settings.Listen("ADMIN_LISTEN", c.AdminListen)
	if err != nil {
		return err
	}
	defer ln.Close()
	id := strings.ToLower(rand.Text()[:8])
	log = log.With("replica", id)
	conn := c.NATS.Conn("phxgate-presence-svc/"+id, log)
	bus, err := nats.DialPresence(conn, subjects, c.Presence.Bucket())
	if err != nil {
		return err
	}
	service := presence.NewService(presence.ServiceConfig{ID: id, Merge: time.Duration(c.Merge), Log: log}, bus)
	bus.Start(service)
	ops, err := admin.New(func() error { return ready(ctx, service, bus, time.Duration(c.ReadyGrace)) }, log)
	if err != nil {
		return err
	}
	if err := errors.Join(service.RegisterMetrics(ops.Meter()), bus.RegisterMetrics(ops.Meter())); err != nil {
		return err
	}
	log.Info("presence-svc runs", "admin", ln.Addr().String(), "nats", conn.Redacted(), "bucket", subjects.Presence().Bucket())

	adminCtx, stopAdmin := context.WithCancel(context.Background())
	defer stopAdmin()
	var side errgroup.Group
	side.Go(func() error { return ops.Serve(adminCtx, ln) })
	service.Run(ctx)
	rest, cancel := context.WithTimeout(context.Background(), min(time.Duration(c.DrainTimeout), time.Second))
	defer cancel()
	bus.Close(rest)
	stopAdmin()
	return side.Wait()
}

// ready says why the service is not ready.
func ready(ctx context.Context, service *presence.Service, bus *nats.PresenceBus, grace time.Duration) error {
	if ctx.Err() != nil {
		return errors.New("draining")
	}
	if err := bus.Ready(grace); err != nil {
		return err
	}
	if service.Ready() || !bus.Available() {
		return nil
	}
	if err := bus.Loading(); err != nil {
		return fmt.Errorf("the presence bucket is not loaded: %w", err)
	}
	return errors.New("the presence bucket is not loaded yet")
}
