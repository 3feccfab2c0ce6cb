// Chat-go is a chat backend: it lets users in, keeps their messages in an SQLite file, and lets moderators delete messages, kick people out and mute them. It also serves a page to chat on. See README.md.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
)

//go:embed index.html
var page []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chat-go:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context) error {
	store, err := openStore(ctx, cmp.Or(os.Getenv("DB_FILE"), "chat.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("PAGE_LISTEN"), "localhost:4040"))
	if err != nil {
		return err
	}
	pages := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})}
	go pages.Serve(listener) // until Close, or the process ends
	defer pages.Close()
	url := cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL)
	nc, err := nats.Connect(url, nats.Name("chat-go"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	b, err := backend.New(nc, backend.Options{Prefix: cmp.Or(os.Getenv("SUBJECT_PREFIX"), "phx"), Queue: "chat"})
	if err != nil {
		return err
	}
	(&chat{Backend: b, store: store, moderatorToken: os.Getenv("MODERATOR_TOKEN")}).register()
	slog.Info("chat-go serves", "nats", url, "page", "http://"+listener.Addr().String())
	return b.Serve(ctx)
}
