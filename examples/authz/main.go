// Authz is a small authz service for phxgate gateways: it answers who may connect, who may join which topic, and what
// they may send there, by the rules of a YAML file. It is a place to start from for one that asks your own users table.
//
//	go run ./examples/authz -nats nats://127.0.0.1:4222 -policy examples/authz/policy.yaml
//
// SIGHUP rereads the file, SIGTERM and SIGINT answer what has come and end the program. Any number of them may run side
// by side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// drainTimeout bounds how long the answers that are under way may take at the end.
const drainTimeout = 10 * time.Second

// flushTimeout bounds the wait at the start until the NATS server knows the subscriptions.
const flushTimeout = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	switch err := run(ctx, os.Args[1:], hangups, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "authz:", err)
		os.Exit(1)
	}
}

// run is the program, logging to stderr, until ctx ends; it rereads the policy at each of hangups.
func run(ctx context.Context, args []string, hangups <-chan os.Signal, stderr io.Writer) error {
	flags := flag.NewFlagSet("authz", flag.ContinueOnError)
	flags.SetOutput(stderr)
	url := flags.String("nats", nats.DefaultURL, "NATS servers, separated by commas")
	path := flags.String("policy", "policy.yaml", "the policy file")
	prefix := flags.String("prefix", "phx", "the gateways' SUBJECT_PREFIX")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	policy, err := LoadPolicy(*path)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	conn, closed, err := connect(*url, log)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	service := NewService(policy, log)
	if err := service.Subscribe(conn, *prefix); err != nil {
		return err
	}
	if conn.IsConnected() {
		if err := conn.FlushTimeout(flushTimeout); err != nil { // it reconnects by itself
			log.Warn("flush the subscriptions", "error", err)
		}
	}
	log.Info("answering", "connected", conn.IsConnected(), "prefix", *prefix, "policy", *path, "users", len(policy.Users), "topics", len(policy.Topics))
	for {
		select {
		case <-hangups:
			reload(service, *path, log)
		case <-closed:
			return errors.New("the connection to NATS was closed for good")
		case <-ctx.Done():
			log.Info("stopping")
			if err := conn.Drain(); errors.Is(err, nats.ErrConnectionReconnecting) {
				return nil // nothing can be answered; Close ends it
			} else if err != nil {
				return fmt.Errorf("drain: %w", err)
			}
			<-closed // at most drainTimeout
			return nil
		}
	}
}

// reload puts the file's policy in place; a mistake in it changes nothing.
func reload(service *Service, path string, log *slog.Logger) {
	policy, err := LoadPolicy(path)
	if err != nil {
		log.Error("policy refused, the old one stays", "error", err)
		return
	}
	service.SetPolicy(policy)
	log.Info("policy reloaded", "users", len(policy.Users), "topics", len(policy.Topics))
}

// connect opens a connection that waits for NATS to be there, at first as later. closed is closed once it will never
// come back.
func connect(url string, log *slog.Logger) (conn *nats.Conn, closed <-chan struct{}, err error) {
	done := make(chan struct{})
	conn, err = nats.Connect(url,
		nats.Name("authz"),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500*time.Millisecond),
		nats.ReconnectBufSize(-1), // an answer that waited is too late
		nats.DrainTimeout(drainTimeout),
		nats.ConnectHandler(func(c *nats.Conn) { log.Info("connected", "server", c.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected again", "server", c.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection lost", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("NATS", "error", err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(done) }),
	)
	return conn, done, err
}
