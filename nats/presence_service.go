package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/presence"
)

// asks bounds the requests of a presence service that are under way.
const asks = 16 << 10

// presenceChan is the capacity of the Go chan that nats.go fills. What it has no room for is seen by the log's sequence, or asked again.
const presenceChan = 64 << 10

// PresenceBus is a presence service's side of NATS. It implements [presence.ServiceBus].
type PresenceBus struct {
	Link
	subjects PresenceSubjects
	service  *presence.Service
	bucket   *bucket
	msgs     chan *natsgo.Msg // everything but the log; never closed
	slots    chan struct{}    // one for each request under way
	stats    presenceStats

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ presence.ServiceBus = (*PresenceBus)(nil)

// DialPresence connects a presence service. NATS need not be there yet. Call Start next.
func DialPresence(cfg ConnConfig, subjects Subjects, bucketConfig BucketConfig) (*PresenceBus, error) {
	cfg.InboxPrefix = "_INBOX.phxpresence"
	b := &PresenceBus{subjects: subjects.Presence(), msgs: make(chan *natsgo.Msg, presenceChan), slots: make(chan struct{}, asks)}
	b.bucket = &bucket{cfg: bucketConfig, subjects: b.subjects, link: &b.Link, log: make(chan *natsgo.Msg, presenceChan)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, b.open(cfg, hooks{up: b.cameUp, failed: b.failed, replaced: b.subscribe})
}

// Start begins to feed a service.
func (b *PresenceBus) Start(service *presence.Service) {
	b.service, b.bucket.inbox = service, service
	b.subscribe(b.nc())
	b.done.Go(b.readAll)
	b.done.Go(func() { b.bucket.follow(b.ctx) })
}

// Close publishes what waits, for at most the context's time, and ends the connection and all goroutines.
func (b *PresenceBus) Close(ctx context.Context) {
	if b.up.Load() {
		if err := b.nc().FlushWithContext(ctx); err != nil {
			b.log.Warn("flush to NATS at the end", "err", err)
		}
	}
	b.cancel()
	b.Link.Close()
	b.done.Wait()
}

func (b *PresenceBus) cameUp(again bool) {
	if !again {
		return
	}
	b.stats.reconnects.Add(1)
	if b.service != nil {
		b.done.Go(b.service.Reconnected)
	}
}

// failed handles nats.go's asynchronous errors. Nothing is lost for good where a Go chan was full: the log's sequence shows what is missing, gateways ask again, backends get no answer.
func (b *PresenceBus) failed(err error) {
	if errors.Is(err, natsgo.ErrSlowConsumer) {
		b.stats.overflows.Add(1)
	}
	b.log.Warn("NATS", "err", err)
}

// Loading says why the bucket is not loaded; nil if it is, or if nothing has failed yet.
func (b *PresenceBus) Loading() error {
	if err := b.bucket.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// subscribe makes a connection's subscriptions. One chan for all but the log: the order of what one sender sent is kept.
func (b *PresenceBus) subscribe(nc *natsgo.Conn) {
	var errs []error
	sub := func(subject string, msgs chan *natsgo.Msg) {
		_, err := nc.ChanSubscribe(subject, msgs)
		errs = append(errs, err)
	}
	sub(b.subjects.Log(), b.bucket.log)
	for _, subject := range []string{b.subjects.Checks(), b.subjects.Hello(), b.subjects.Replica()} {
		sub(subject, b.msgs)
	}
	for _, subject := range []string{b.subjects.Lists(), b.subjects.Updates()} {
		_, err := nc.ChanQueueSubscribe(subject, "presence", b.msgs)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		b.log.Error("subscriptions of the presence service", "err", err)
	}
}

// readAll is the reader goroutine.
func (b *PresenceBus) readAll() {
	for {
		select {
		case m := <-b.msgs:
			b.receive(m)
		case <-b.ctx.Done():
			return
		}
	}
}

func (b *PresenceBus) receive(m *natsgo.Msg) {
	reply := func(body []byte) {
		if m.Reply != "" {
			_ = m.Respond(body) // who asked asks again
		}
	}
	switch m.Subject {
	case b.subjects.Hello():
		b.service.Hello(m.Data)
		return
	case b.subjects.Replica():
		b.service.Beat(m.Data)
		return
	}
	if topic, ok := b.subjects.asked(m.Subject, "list"); ok {
		b.service.List(topic, m.Data, reply)
	} else if topic, ok := b.subjects.asked(m.Subject, "update"); ok {
		b.service.Update(topic, m.Data, reply)
	} else if p := b.subjects.partition(m.Subject); p >= 0 {
		b.service.Check(p, m.Data)
	} else {
		reply([]byte(`{"status":"error","error":"invalid topic","reason":"invalid topic"}`))
	}
}

// publish publishes; what cannot go out now is lost, and views are compared after a reconnect.
func (b *PresenceBus) publish(m *natsgo.Msg) { _ = b.nc().PublishMsg(m) }

// Emit implements [presence.ServiceBus].
func (b *PresenceBus) Emit(topic string, payload []byte, stamp presence.Stamp) bool {
	body := make([]byte, 0, len(payload)+160)
	body = append(body, `{"event":"presence_diff","payload":`...)
	body = append(body, payload...)
	body = fmt.Appendf(body, `,"presence":{"epoch":%d,"after":%d,"first":%d,"rev":%d}}`, stamp.Epoch, stamp.After, stamp.First, stamp.Rev)
	if len(body) > b.MaxPayload() {
		return false
	}
	b.publish(&natsgo.Msg{Subject: b.subjects.Topic(topic), Data: body})
	return true
}

// Tell implements [presence.ServiceBus].
func (b *PresenceBus) Tell(gateway string, message []byte) {
	b.publish(&natsgo.Msg{Subject: b.subjects.Gateway(gateway), Data: message})
}

// Sync implements [presence.ServiceBus].
func (b *PresenceBus) Sync(message []byte) {
	b.publish(&natsgo.Msg{Subject: b.subjects.Sync(), Data: message})
}

// Beat implements [presence.ServiceBus].
func (b *PresenceBus) Beat(message []byte) {
	b.publish(&natsgo.Msg{Subject: b.subjects.Replica(), Data: message})
}

// Ask implements [presence.ServiceBus].
func (b *PresenceBus) Ask(gateway string, message []byte, timeout time.Duration, answered func([]byte, error)) {
	b.request(&natsgo.Msg{Subject: b.subjects.Gateway(gateway), Data: message}, timeout, answered)
}

// request makes a request on a goroutine of its own.
func (b *PresenceBus) request(m *natsgo.Msg, timeout time.Duration, answered func([]byte, error)) {
	select {
	case b.slots <- struct{}{}:
	default:
		b.done.Go(func() { answered(nil, presence.ErrTimeout) })
		return
	}
	b.done.Go(func() {
		defer func() { <-b.slots }()
		ctx, cancel := context.WithTimeout(b.ctx, timeout)
		defer cancel()
		answer, err := b.nc().RequestMsgWithContext(ctx, m)
		switch {
		case errors.Is(err, natsgo.ErrNoResponders):
			answered(nil, presence.ErrNoResponders)
		case err != nil:
			answered(nil, fmt.Errorf("%w: %w", presence.ErrTimeout, err))
		default:
			answered(answer.Data, nil)
		}
	})
}

// Reach implements [presence.ServiceBus].
func (b *PresenceBus) Reach(timeout time.Duration, reached func(error)) {
	m := &natsgo.Msg{Subject: "$JS.API.STREAM.INFO." + b.subjects.Stream()}
	b.request(m, timeout, func(body []byte, err error) { reached(errors.Join(err, apiError(body))) })
}

// apiError is the error in an answer of JetStream's.
func apiError(body []byte) error {
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Error != nil {
		return errors.New(answer.Error.Description)
	}
	return nil
}

// removal is the header of a message that removes a key.
func removal() natsgo.Header {
	return natsgo.Header{
		"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}, "Nats-TTL": {strconv.Itoa(int(markerTTL.Seconds())) + "s"},
	}
}

// Remove implements [presence.ServiceBus].
func (b *PresenceBus) Remove(r *presence.Record, timeout time.Duration, removed func(error)) {
	h := removal()
	h["Nats-Expected-Last-Subject-Sequence"] = []string{strconv.FormatUint(r.Seq, 10)}
	if r.Op == presence.OpLost {
		h[lostHeader] = []string{"lost"}
	}
	m := &natsgo.Msg{Subject: b.subjects.Key(r.Incarnation, r.Entry, r.Topic), Header: h}
	b.request(m, timeout, func(body []byte, err error) { removed(errors.Join(err, apiError(body))) })
}

// Purge implements [presence.ServiceBus].
func (b *PresenceBus) Purge(incarnation string) {
	b.done.Go(func() {
		ctx, cancel := context.WithTimeout(b.ctx, askBucket)
		defer cancel()
		js, err := jetstream.New(b.nc())
		if err == nil {
			var stream jetstream.Stream
			if stream, err = js.Stream(ctx, b.subjects.Stream()); err == nil {
				err = stream.Purge(ctx, jetstream.WithPurgeSubject(b.subjects.Entries(incarnation)))
			}
		}
		if err != nil {
			b.log.Warn("entries of a gateway that is gone are not removed from the bucket yet", "incarnation", incarnation, "err", err)
		}
	})
}

// GatewayLost implements [presence.ServiceBus].
func (b *PresenceBus) GatewayLost(gateway string) {
	body := phx.AppendQuote([]byte(`{"gateway":`), gateway)
	b.publish(&natsgo.Msg{Subject: b.subjects.GatewayLost(), Data: append(body, '}')})
}

// Left implements [presence.ServiceBus].
func (b *PresenceBus) Left(c *presence.LostChannel) {
	h := natsgo.Header{}
	set(h, "Phx-Topic", c.Topic)
	setRaw(h, "Phx-Channel", c.Channel)
	setIf(h, "Phx-Socket-Id", c.Socket)
	assigns := "{}"
	if len(c.Assigns) > 0 {
		assigns = string(c.Assigns)
	}
	h["Phx-Assigns"] = []string{assigns}
	b.publish(&natsgo.Msg{Subject: b.subjects.Left(c.Topic), Header: h, Data: []byte(`{"reason":"gateway_lost"}`)})
}

// MaxPayload implements [presence.ServiceBus].
func (b *PresenceBus) MaxPayload() int { return int(max(b.maxPayload.Load(), 64<<10)) }
