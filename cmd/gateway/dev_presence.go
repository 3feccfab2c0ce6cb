package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/phxgate/phxgate/internal/settings"
	"github.com/phxgate/phxgate/nats"
	"github.com/phxgate/phxgate/presence"
)

// startDevPresence runs the presence service in this process until stop is called.
func startDevPresence(s *config, log *slog.Logger) (stop func(), err error) {
	var c struct{ settings.Presence }
	if err := settings.Parse(&c, settings.Environment()); err != nil {
		return nil, err
	}
	subjects, err := nats.NewSubjects(s.Prefix)
	if err != nil {
		return nil, err
	}
	id := strings.ToLower(rand.Text()[:8])
	log = log.With("replica", id)
	bus, err := nats.DialPresence(s.NATS.Conn("phxgate-dev-presence/"+id, log), subjects, c.Bucket())
	if err != nil {
		return nil, err
	}
	service := presence.NewService(presence.ServiceConfig{ID: id, Merge: time.Duration(c.Merge), Log: log}, bus)
	bus.Start(service)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { service.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
		rest, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		bus.Close(rest)
	}, nil
}
