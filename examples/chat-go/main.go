// Chat-go is a chat backend: it lets users in, keeps their messages in an SQLite file, and lets moderators delete messages and kick people out. See README.md.
//
//	go run . -nats nats://127.0.0.1:4222 -db chat.db -moderator-token secret
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "chat-go:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("chat-go", flag.ContinueOnError)
	url := flags.String("nats", "nats://127.0.0.1:4222", "NATS servers, separated by commas")
	file := flags.String("db", "chat.db", "the SQLite file")
	prefix := flags.String("prefix", "phx", "the gateways' SUBJECT_PREFIX")
	token := flags.String("moderator-token", "", "who connects with this param `moderator` is one; empty: nobody")
	if err := flags.Parse(args); err != nil {
		return err
	}
	store, err := openStore(ctx, *file)
	if err != nil {
		return err
	}
	defer store.Close()
	nc, err := nats.Connect(*url, nats.Name("chat-go"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	b, err := backend.New(nc, backend.Options{Prefix: *prefix, Queue: "chat"})
	if err != nil {
		return err
	}
	(&chat{Backend: b, store: store, moderatorToken: *token}).register()
	slog.Info("chat-go starts", "nats", *url, "db", *file)
	return b.Serve(ctx)
}
