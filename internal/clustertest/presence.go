package clustertest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/phxgate/phxgate/nats"
	"github.com/phxgate/phxgate/presence"
)

// Service is a replica of the presence service in this process.
type Service struct {
	*presence.Service
	Bus  *nats.PresenceBus
	stop func()
}

// StartPresence runs a replica on a NATS server with JetStream until the test ends, and waits until it is ready. merge is PRESENCE_MERGE, replicas that of the bucket.
func StartPresence(t testing.TB, natsURL, prefix string, merge time.Duration, replicas int) *Service {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("PHXTEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	subjects, err := nats.NewSubjects(prefix)
	if err != nil {
		t.Fatal(err)
	}
	id := rand.Text()[:8]
	bus, err := nats.DialPresence(nats.ConnConfig{URL: natsURL, Name: "presence-" + id, Log: log}, subjects, nats.BucketConfig{Replicas: replicas, Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Service: presence.NewService(presence.ServiceConfig{ID: id, Merge: merge, Log: log}, bus), Bus: bus}
	bus.Start(s.Service)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	s.stop = func() {
		cancel()
		<-ended
		rest, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		bus.Close(rest)
	}
	t.Cleanup(func() { s.Stop() })
	WaitFor(t, "presence service", s.Ready)
	return s
}

// Stop ends the replica in good order, once.
func (s *Service) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}
