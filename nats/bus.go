package nats

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/internal/planted"
)

// chanCount is the capacity of the Go chan that nats.go fills. Its only reader never waits for anything; what nats.go drops all the same is a gap of every topic.
const chanCount = 16 << 10

// Bus is a gateway's side of NATS. It implements [gateway.Bus].
type Bus struct {
	Link
	subjects  Subjects
	gatewayID string
	inbox     gateway.Inbox // set by Start
	presence  PresenceInbox // nil: none; set before Start
	// Of presence's subjects.
	presencePrefix, syncSubject string
	stats                       busStats

	msgs chan *natsgo.Msg // everything that comes in; never closed

	in       inbound
	gaps     gaps
	out      outbound
	requests requests
	reports  reports
	prober   *prober

	mu     sync.Mutex
	topics map[string]*subscription // by subject

	quit chan struct{} // closed by Close
	done sync.WaitGroup
}

var _ gateway.Bus = (*Bus)(nil)

// subscription is one topic's. The writer makes and ends it; all but the last two is guarded by Bus.mu.
type subscription struct {
	topic   string
	sub     *natsgo.Subscription // nil until made
	round   uint64               // the prober's that confirmed it last, or is about to; 0: none
	inForce bool                 // a join was told so
	refused bool                 // by the server, for want of a permission

	waiting  atomic.Int64 // bytes of its messages that wait for the reader, at most inbound.topicLimit
	dropping bool         // more came: its messages are dropped until the reader has come to the place; guarded by inbound.mu
}

// busStats is what a Bus counts.
type busStats struct {
	Reconnects atomic.Int64
	Gaps       atomic.Int64
	In         atomic.Int64 // messages that came
	Out        atomic.Int64 // messages published
	Dropped    [numDropReasons]atomic.Int64
}

// Dial connects a gateway's bus. NATS need not be there yet: until it is, everything answers ErrUnavailable. Call Start next.
func Dial(cfg ConnConfig, subjects Subjects, gatewayID string) (*Bus, error) {
	b := &Bus{
		subjects: subjects, gatewayID: gatewayID, msgs: make(chan *natsgo.Msg, chanCount),
		topics: map[string]*subscription{}, quit: make(chan struct{}),
	}
	b.presencePrefix, b.syncSubject = subjects.Presence().prefix, subjects.Presence().Sync()
	b.in.init()
	b.gaps.init()
	b.out.init()
	b.reports.init()
	// A part of _INBOX of their own: who may subscribe to all of _INBOX.> reads every answer there, and answers of the authz service hold assigns. The random
	// part keeps late answers to a predecessor of the same id apart.
	b.requests.init("_INBOX.phxgate." + gatewayID + strings.TrimPrefix(natsgo.NewInbox(), "_INBOX") + ".")
	b.prober = newProber(b, cfg)
	return b, b.open(cfg, hooks{
		up: b.cameUp, down: func() { b.requests.failAll(gateway.ErrUnavailable) }, failed: b.failed, denied: b.denied, discovered: b.prober.refresh,
		replaced: b.resubscribe,
	})
}

// Start makes the fixed subscriptions and begins to feed the inbox.
func (b *Bus) Start(inbox gateway.Inbox) error {
	b.inbox = inbox
	if err := b.subscribeFixed(b.nc()); err != nil {
		return err
	}
	for _, f := range []func(){b.pullAll, b.readAll, b.tellGaps, b.writeAll, b.confirmAll, b.prober.prove, b.requests.expire} {
		b.done.Go(f)
	}
	return nil
}

// subscribeFixed makes the subscriptions that a gateway always has.
func (b *Bus) subscribeFixed(nc *natsgo.Conn) error {
	fixed := []string{b.subjects.ChannelsOf(b.gatewayID), b.subjects.AllSockets(), b.subjects.Rechecks(), b.subjects.AllGateways(), b.requests.prefix + "*"}
	for _, subject := range append(fixed, b.presenceSubjects()...) {
		if _, err := nc.ChanSubscribe(subject, b.msgs); err != nil {
			return fmt.Errorf("subscribe %s: %w", subject, err)
		}
	}
	return nil
}

// resubscribe gives a connection that replaces another all subscriptions. The bus is not up meanwhile, so that the writer makes none.
func (b *Bus) resubscribe(nc *natsgo.Conn) {
	err := b.subscribeFixed(nc)
	b.mu.Lock()
	defer b.mu.Unlock()
	for subject, s := range b.topics {
		sub, e := nc.ChanSubscribe(subject, b.msgs)
		if e != nil {
			err = e
			continue
		}
		s.sub = sub
	}
	if err != nil {
		b.log.Error("subscriptions of a replaced connection", "err", err)
	}
}

// Close publishes what waits, for at most the context's time, and ends the connection and all goroutines. Requests under way are answered with
// ErrUnavailable.
func (b *Bus) Close(ctx context.Context) {
	b.out.drain(ctx)
	if b.up.Load() {
		if err := b.nc().FlushWithContext(ctx); err != nil {
			b.log.Warn("flush to NATS at the end", "err", err)
		}
	}
	close(b.quit)
	b.in.close()
	b.out.close()
	b.requests.close()
	b.Link.Close()
	b.done.Wait()
}

// cameUp handles a new connection: every one but the first is a gap.
func (b *Bus) cameUp(again bool) {
	b.prober.restart()
	if again {
		b.stats.Reconnects.Add(1)
		if !planted.NoGap {
			b.gapOfAll()
		}
	}
}

// Subscribe implements [gateway.Bus].
func (b *Bus) Subscribe(topic string, done func(error)) {
	b.out.put(command{kind: cmdSubscribe, subject: b.subjects.Topic(topic), topic: topic, done: done})
}

// Unsubscribe implements [gateway.Bus].
func (b *Bus) Unsubscribe(topic string) {
	b.out.put(command{kind: cmdUnsubscribe, subject: b.subjects.Topic(topic)})
}

// Broadcast implements [gateway.Bus]. JSON goes as an envelope, since headers make a message three times as dear at both ends; bytes cannot.
func (b *Bus) Broadcast(e *gateway.Event) error {
	if e.Binary {
		h := natsgo.Header{}
		set(h, "Phx-Event", e.Name)
		set(h, "Phx-Encoding", "binary")
		setRaw(h, "Phx-Channel", e.Channel)
		setIf(h, "Phx-Socket-Id", e.SocketID)
		setRaw(h, "Phx-From", e.From)
		return b.publish(b.subjects.Topic(e.Topic), "", h, append([]byte(nil), e.Payload...))
	}
	body := make([]byte, 0, len(e.Payload)+len(e.Name)+len(e.Channel)+len(e.SocketID)+len(e.From)+80)
	body = appendEnvelope(body, e.Name, e.Payload, e.From)
	body = append(body, `,"channel":`...)
	body = phx.AppendQuote(body, e.Channel)
	if e.SocketID != "" {
		body = append(body, `,"socket_id":`...)
		body = phx.AppendQuote(body, e.SocketID)
	}
	return b.publish(b.subjects.Topic(e.Topic), "", nil, append(body, '}'))
}

// appendEnvelope appends the envelope of a broadcast, but for the brace that closes it.
func appendEnvelope(dst []byte, event string, payload []byte, from string) []byte {
	dst = append(dst, `{"event":`...)
	dst = phx.AppendQuote(dst, event)
	dst = append(dst, `,"payload":`...)
	dst = append(dst, payload...)
	if from != "" {
		dst = append(dst, `,"from":`...)
		dst = phx.AppendQuote(dst, from)
	}
	return dst
}

// Cast implements [gateway.Bus].
func (b *Bus) Cast(e *gateway.Event) error {
	return b.publish(b.subjects.Event(e.Name, e.Topic), "", eventHeader(e), append([]byte(nil), e.Payload...))
}

// Call implements [gateway.Bus].
func (b *Bus) Call(e *gateway.Event, timeout time.Duration, done func(*gateway.Answer, error)) error {
	subject := b.subjects.Event(e.Name, e.Topic)
	return b.request(subject, eventHeader(e), append([]byte(nil), e.Payload...), timeout, func(m *natsgo.Msg, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		answer, reason := readAnswer(m)
		if reason != dropNone {
			b.drop(subject, reason)
			answer = &gateway.Answer{Bad: true}
		}
		done(answer, nil)
	})
}

// Joined implements [gateway.Bus].
func (b *Bus) Joined(e *gateway.Event) error {
	return b.publish(b.subjects.Joined(e.Topic), "", channelHeader(e), append([]byte(nil), e.Payload...))
}

// Left implements [gateway.Bus].
func (b *Bus) Left(e *gateway.Event, reason string) error {
	return b.publish(b.subjects.Left(e.Topic), "", channelHeader(e), []byte(`{"reason":"`+reason+`"}`))
}

// eventHeader is the header of a call or cast.
func eventHeader(e *gateway.Event) natsgo.Header {
	h := channelHeader(e)
	set(h, "Phx-Event", e.Name)
	setRaw(h, "Phx-Join-Ref", e.JoinRef)
	setRaw(h, "Phx-Ref", e.Ref)
	encoding := "json"
	if e.Binary {
		encoding = "binary"
	}
	set(h, "Phx-Encoding", encoding)
	return h
}

// channelHeader says which channel a message is about.
func channelHeader(e *gateway.Event) natsgo.Header {
	h := natsgo.Header{}
	set(h, "Phx-Topic", e.Topic)
	setRaw(h, "Phx-Channel", e.Channel)
	setIf(h, "Phx-Socket-Id", e.SocketID)
	assigns := e.Assigns
	if assigns == nil {
		assigns = []byte("{}")
	}
	h["Phx-Assigns"] = []string{string(assigns)}
	setTrace(h, e.Trace)
	return h
}

// maxTraceBytes is more than a header with a trace context takes.
const maxTraceBytes = 700

func setTrace(h natsgo.Header, t gateway.Trace) {
	setRaw(h, "traceparent", t.Parent)
	setRaw(h, "tracestate", t.State)
}

func set(h natsgo.Header, key, value string) { h[key] = []string{EncodeHeader(value)} }

// setRaw sets a value that is printable ASCII by its nature and never encoded.
func setRaw(h natsgo.Header, key, value string) {
	if value != "" {
		h[key] = []string{value}
	}
}

func setIf(h natsgo.Header, key, value string) {
	if value != "" {
		set(h, key, value)
	}
}

// publish hands a message to the writer. data and header belong to the bus from then on.
func (b *Bus) publish(subject, reply string, h natsgo.Header, data []byte) error {
	if !b.up.Load() {
		return gateway.ErrUnavailable
	}
	size := len(data)
	if h != nil {
		size += headerSize(h)
	}
	if int64(size) > b.maxPayload.Load() {
		return gateway.ErrTooLarge
	}
	if !b.out.put(command{kind: cmdPublish, msg: &natsgo.Msg{Subject: subject, Reply: reply, Header: h, Data: data}, size: size}) {
		return gateway.ErrUnavailable
	}
	return nil
}

// headerSize is how many bytes a header takes in a message (NATS ADR-4).
func headerSize(h natsgo.Header) int {
	n := len("NATS/1.0\r\n\r\n")
	for k, vs := range h {
		for _, v := range vs {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	return n
}

// replySubject is where the answer to request id comes.
func (r *requests) replySubject(id uint64) string { return r.prefix + strconv.FormatUint(id, 36) }
