package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Serve answers what was registered until ctx ends; then it takes no more, handles what has come, and returns when that is done: nil if all was handled within Options.DrainTimeout. The
// connection stays open. It can be called once. Errors: ErrServed; one of nats.go, if the subscriptions cannot be made; one that says that the drain took too long.
func (b *Backend) Serve(ctx context.Context) error {
	if b.served.Swap(true) {
		return ErrServed
	}
	// One Go channel for all subscriptions, and one reader: what came for one channel is seen in its order.
	messages := make(chan *nats.Msg, b.opts.Waiting)
	var subscriptions []*nats.Subscription
	stop := func() {
		for _, s := range subscriptions {
			_ = s.Drain() // no connection: nothing will come
		}
	}
	for _, subject := range b.subjects() {
		s, err := b.conn.ChanQueueSubscribe(subject, b.opts.Queue, messages)
		if err != nil {
			stop()
			return fmt.Errorf("backend: subscribe %s: %w", subject, err)
		}
		subscriptions = append(subscriptions, s)
	}
	switch err := b.waitForServer(ctx); {
	case ctx.Err() != nil:
		stop()
		return nil
	case err != nil:
		stop()
		return fmt.Errorf("backend: %w", err)
	}
	close(b.ready)

	handlers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &service{Backend: b, turns: newTurns(b.opts.Workers, b.opts.Waiting)}
	for ctx.Err() == nil {
		select {
		case msg := <-messages:
			s.take(handlers, msg)
		case <-ctx.Done():
		}
	}
	stop()
	// What takes longer than DrainTimeout is cancelled.
	limited, release := context.WithTimeout(handlers, b.opts.DrainTimeout)
	defer release()
	defer context.AfterFunc(limited, cancel)()
	return s.drain(limited, handlers, messages)
}

// subjects are what is subscribed to, each once. Where they overlap, a message comes once nevertheless: they are of one queue group.
func (b *Backend) subjects() []string {
	var subjects []string
	for _, t := range b.topics {
		topic := t.pattern.topicTokens()
		for _, h := range t.handlers {
			subjects = append(subjects, b.subject("event", h.event.eventToken()+"."+topic))
		}
		if t.joined != nil {
			subjects = append(subjects, b.subject("joined", topic))
		}
		if t.left != nil {
			subjects = append(subjects, b.subject("left", topic))
		}
		if t.join != nil {
			subjects = append(subjects, b.subject("authz", "join"), b.subject("authz", "joins"))
		}
	}
	if b.connect != nil {
		subjects = append(subjects, b.subject("authz", "connect"))
	}
	if b.gatewayLost != nil {
		subjects = append(subjects, b.subject("gateway", "lost"))
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// waitForServer waits until the server knows the subscriptions. It may be away for as long as it likes.
func (b *Backend) waitForServer(ctx context.Context) error {
	for {
		limited, cancel := context.WithTimeout(ctx, b.opts.Timeout)
		err := b.conn.FlushWithContext(limited)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// service is a Backend that serves.
type service struct {
	*Backend
	turns *turns

	// Of the one goroutine that takes messages.
	logged  time.Time // when it was last logged that messages were not handled
	dropped int       // since then
}

// take gives a message its turn; ctx is its handler's.
func (s *service) take(ctx context.Context, msg *nats.Msg) {
	jobs, err := s.receive(msg)
	if err != nil {
		s.drop(msg, err)
	}
	for _, j := range jobs {
		if s.turns.add(j.channel, func() { s.run(ctx, j, msg) }) {
			continue
		}
		if j.refuse != nil {
			j.refuse()
		}
		s.drop(msg, errOverloaded)
	}
}

var errOverloaded = errors.New("overloaded")

// drop logs, at most once a second, that messages were not handled.
func (s *service) drop(msg *nats.Msg, err error) {
	s.dropped++
	if now := time.Now(); now.Sub(s.logged) >= time.Second {
		s.opts.Log.Warn("backend: messages not handled", "count", s.dropped, "subject", msg.Subject, "err", err)
		s.logged, s.dropped = now, 0
	}
}

// drain handles what has come.
func (s *service) drain(limited, handlers context.Context, messages <-chan *nats.Msg) error {
	// Behind this flush nothing comes any more. An error is that of a connection that is away: nothing comes either.
	_ = s.conn.FlushWithContext(limited)
	for len(messages) > 0 {
		s.take(handlers, <-messages)
	}
	s.turns.wait()
	if err := s.conn.FlushWithContext(limited); err != nil {
		return fmt.Errorf("backend: drain: %w", err)
	}
	return nil
}
