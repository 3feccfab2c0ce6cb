package nats

import (
	"context"
	"errors"
	"regexp"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
)

// outboundBytes bounds what may wait for the writer; beyond it publishes answer ErrUnavailable, since NATS does not keep up.
const outboundBytes = 64 << 20

// confirmTimeout bounds how long a join waits for its subscription to be in force.
const confirmTimeout = 5 * time.Second

type commandKind uint8

const (
	cmdPublish commandKind = iota
	cmdSubscribe
	cmdUnsubscribe
)

// command is something for the writer.
type command struct {
	kind    commandKind
	msg     *natsgo.Msg
	size    int
	subject string
	topic   string
	done    func(error)
}

// outbound is the queue between whoever publishes and the writer, the only goroutine that calls nats.go's Publish and Subscribe: those may wait for the
// connection. The second queue holds confirmations of subscriptions.
type outbound struct {
	mu      sync.Mutex
	more    sync.Cond // there is something, or it is closed
	room    sync.Cond // the writer took everything
	queue   []command
	bytes   int
	busy    bool // the writer works on what it took
	closed  bool
	confirm chan struct{} // something is in confirms; never closed

	confirmMu sync.Mutex
	confirms  []confirmation
	lastTold  error         // the missing permission that the error handler saw last
	told      chan struct{} // lastTold changed; never closed
}

// confirmation is a subscription that a join waits for.
type confirmation struct {
	*subscription
	before error // nats.go's last error before the SUB was sent
	done   func(error)
}

// toldTimeout bounds how long a confirmation waits for the error handler to see what the connection has seen.
const toldTimeout = time.Second

func (o *outbound) init() {
	o.more.L, o.room.L = &o.mu, &o.mu
	o.confirm, o.told = make(chan struct{}, 1), make(chan struct{}, 1)
}

// put appends a command; false if there is no room. Commands about subscriptions always have room: they are bounded by the number of joins.
func (o *outbound) put(c command) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.kind == cmdPublish && (o.closed || o.bytes+c.size > outboundBytes) {
		return false
	}
	o.queue = append(o.queue, c)
	o.bytes += c.size
	if len(o.queue) == 1 {
		o.more.Signal()
	}
	return true
}

// take waits for commands and exchanges the queue for empty; nil when closed.
func (o *outbound) take(empty []command) []command {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = false
	o.room.Broadcast()
	for len(o.queue) == 0 {
		if o.closed {
			return nil
		}
		o.more.Wait()
	}
	got := o.queue
	o.queue, o.bytes, o.busy = empty[:0], 0, true
	return got
}

// drain waits until the writer has nothing left to do or ctx ends.
func (o *outbound) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		o.room.Broadcast()
		o.mu.Unlock()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.queue) > 0 || o.busy) && ctx.Err() == nil {
		o.room.Wait()
	}
}

func (o *outbound) close() {
	o.mu.Lock()
	o.closed = true
	o.more.Broadcast()
	o.mu.Unlock()
}

// writeAll is the writer goroutine.
func (b *Bus) writeAll() {
	var batch []command
	for {
		if batch = b.out.take(batch); batch == nil {
			return
		}
		for i := range batch {
			b.write(&batch[i])
			batch[i] = command{}
		}
	}
}

func (b *Bus) write(c *command) {
	switch c.kind {
	case cmdPublish:
		if err := b.nc().PublishMsg(c.msg); err != nil {
			// The connection went away after the sender was told that it is there: what is lost then is what any broken connection loses.
			b.stats.Dropped[dropNotPublished].Add(1)
			return
		}
		b.stats.Out.Add(1)
	case cmdSubscribe:
		b.subscribe(c)
	case cmdUnsubscribe:
		b.mu.Lock()
		if s := b.topics[c.subject]; s != nil && s.sub != nil {
			_ = s.sub.Unsubscribe() // it fails only where the connection was given up, and the subscription with it
		}
		delete(b.topics, c.subject)
		b.mu.Unlock()
	}
}

func (b *Bus) subscribe(c *command) {
	if !b.up.Load() {
		c.done(gateway.ErrUnavailable)
		return
	}
	b.mu.Lock()
	s := b.topics[c.subject]
	b.mu.Unlock()
	var before error // of a SUB that was sent long ago any error may tell
	if s == nil {
		before = b.nc().LastError() // before the SUB: the server may refuse it at once
		if s = b.makeSubscription(c); s == nil {
			c.done(gateway.ErrUnavailable)
			return
		}
	}
	b.out.confirmMu.Lock()
	b.out.confirms = append(b.out.confirms, confirmation{s, before, c.done})
	b.out.confirmMu.Unlock()
	signal(b.out.confirm)
}

// makeSubscription sends the SUB; nil if it cannot.
func (b *Bus) makeSubscription(c *command) *subscription {
	s := &subscription{topic: c.topic}
	b.mu.Lock()
	b.topics[c.subject] = s // before the first message can come
	b.mu.Unlock()
	sub, err := b.nc().ChanSubscribe(c.subject, b.msgs)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		delete(b.topics, c.subject)
		b.log.Warn("subscribe", "subject", c.subject, "err", err)
		return nil
	}
	s.sub = sub
	return s
}

// confirmAll is the goroutine that confirms subscriptions: the server answers a PING after it has taken every SUB before it, so one round trip confirms all that
// were sent when it began. That holds for the server this gateway is connected to; the prober asks the others of its cluster at the same time.
func (b *Bus) confirmAll() {
	for {
		select {
		case <-b.quit:
			b.confirmed(gateway.ErrUnavailable)
			return
		case <-b.out.confirm:
		}
		b.out.confirmMu.Lock()
		waiting := b.out.confirms
		b.out.confirms = nil
		b.out.confirmMu.Unlock()
		b.prober.begin(waiting)
		err := b.nc().FlushTimeout(confirmTimeout)
		if err == nil {
			b.prober.end()
		} else {
			b.log.Warn("subscriptions not confirmed", "topics", len(waiting), "err", err)
		}
		for _, c := range waiting {
			if err != nil || b.nc().LastError() != c.before && b.refused(c.subscription) || !b.holds(c.subscription) {
				c.done(gateway.ErrUnavailable)
			} else {
				c.done(nil)
			}
		}
	}
}

// holds notes that a subscription is in force, unless it was refused: from then on a refusal is news to the gateway.
func (b *Bus) holds(s *subscription) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.inForce = !s.refused
	return s.inForce
}

// refused reports whether the server refused a subscription. It says so before the PONG, in an error that names the subject; nats.go keeps the last one and hands all
// of them to the error handler, in order. So once the handler has seen the last there is, it has seen the one that matters.
func (b *Bus) refused(s *subscription) bool {
	timer := time.NewTimer(toldTimeout)
	defer timer.Stop()
	for {
		last := b.nc().LastError()
		if errors.Is(last, natsgo.ErrMaxSubscriptionsExceeded) {
			return true // it does not say which
		}
		b.out.confirmMu.Lock()
		seen := b.out.lastTold == last
		b.out.confirmMu.Unlock()
		if seen || !errors.Is(last, natsgo.ErrPermissionViolation) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return s.refused
		}
		select {
		case <-b.out.told: // perhaps of the last, perhaps of one before
		case <-timer.C:
			return true
		case <-b.quit:
			return true
		}
	}
}

// deniedSubject finds the subject of a SUB that the server refused (nats-server client.go, subPermissionViolation).
var deniedSubject = regexp.MustCompile(`Permissions Violation for Subscription to "([^" ]+)"`)

// denied marks the topic's subscription that an error of the server is about. One that was in force, and is refused when it is sent again on a new connection or
// when the server's permissions change, ends the topic at the gateway: its channels would hear nothing for ever.
func (b *Bus) denied(err error) {
	if m := deniedSubject.FindStringSubmatch(err.Error()); m != nil {
		b.mu.Lock()
		if s := b.topics[m[1]]; s != nil {
			if s.inForce {
				b.gaps.add(false, nil, []string{s.topic})
			}
			s.refused, s.inForce = true, false
		}
		b.mu.Unlock()
	}
	b.out.confirmMu.Lock()
	b.out.lastTold = err
	b.out.confirmMu.Unlock()
	signal(b.out.told)
}

// confirmed answers everything that waits.
func (b *Bus) confirmed(err error) {
	b.out.confirmMu.Lock()
	waiting := b.out.confirms
	b.out.confirms = nil
	b.out.confirmMu.Unlock()
	for _, c := range waiting {
		c.done(err)
	}
}
