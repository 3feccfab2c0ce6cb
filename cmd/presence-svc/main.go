// Command presence-svc is the presence service that runs beside a fleet of gateways. All settings come from the environment; presence-svc --help lists
// them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/phxgate/phxgate/internal/admin"
	"github.com/phxgate/phxgate/internal/settings"
	"github.com/phxgate/phxgate/nats"
)

// config is the service's settings.
type config struct {
	settings.NATS

	AdminListen  string            `env:"ADMIN_LISTEN" envDefault:":9091" help:"/healthz, /readyz, /metrics, /debug/pprof/"`
	DrainTimeout settings.Duration `env:"DRAIN_TIMEOUT" envDefault:"30s" help:"how long SIGTERM may take"`
	ReadyGrace   settings.Duration `env:"READY_GRACE" envDefault:"5s" help:"a NATS hiccup shorter than this does not make it unready"`

	Merge    pause    `env:"PRESENCE_MERGE" envDefault:"50ms" help:"how long changes of a busy topic are gathered into one diff; 0s: never"`
	Replicas replicas `env:"PRESENCE_REPLICAS" envDefault:"1" help:"of the KV bucket, 1 to 5"`
	Storage  storage  `env:"PRESENCE_STORAGE" envDefault:"file" help:"of the KV bucket, file or memory"`

	LogLevel settings.LogLevel `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
}

// pause is a duration that may be zero.
type pause time.Duration

func (p *pause) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration with a unit of 0s or more", b)
	}
	*p = pause(d)
	return nil
}

type replicas int

func (r *replicas) UnmarshalText(b []byte) error {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < 1 || n > 5 {
		return fmt.Errorf("%q is not a number from 1 to 5", b)
	}
	*r = replicas(n)
	return nil
}

type storage string

func (s *storage) UnmarshalText(b []byte) error {
	if string(b) != "file" && string(b) != "memory" {
		return fmt.Errorf("%q is neither file nor memory", b)
	}
	*s = storage(b)
	return nil
}

func main() { os.Exit(run(os.Args[1:])) }

// run is the program: 0 when all went well, 1 when something failed, 2 for bad usage.
func run(args []string) int {
	if len(args) > 0 {
		help := fmt.Sprintf(`presence-svc: the presence service of a fleet of gateways.

This version keeps no presence yet: it connects to NATS and can be deployed, watched and stopped.

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
	ln, err := settings.Listen("ADMIN_LISTEN", c.AdminListen)
	if err != nil {
		return err
	}
	defer ln.Close()
	conn := c.NATS.Conn("phxgate-presence-svc", log)
	link, err := nats.Open(conn)
	if err != nil {
		return err
	}
	defer link.Close()
	ops, err := admin.New(func() error {
		if ctx.Err() != nil {
			return errors.New("draining")
		}
		return link.Ready(time.Duration(c.ReadyGrace))
	}, log)
	if err != nil {
		return err
	}
	log.Warn("presence-svc runs; this version keeps no presence yet", "admin", ln.Addr().String(), "nats", conn.Redacted())
	return ops.Serve(ctx, ln)
}
