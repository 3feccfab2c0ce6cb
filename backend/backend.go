package backend

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Backend is one service. Its methods may be called by anybody at any time, but those that say what is served, and those of its topics, before Serve alone.
type Backend struct {
	conn Conn
	opts Options

	// What is served: written before Serve, only read from then on.
	topics      []*Topic
	connect     func(context.Context, *ConnectRequest) (ConnectReply, error)
	gatewayLost func(ctx context.Context, gateway string) error

	served atomic.Bool   // Serve was called
	ready  chan struct{} // closed when Serve's subscriptions are in force
}

// New returns a backend that serves nothing yet. The error names an option with a bad value.
func New(conn Conn, options Options) (*Backend, error) {
	filled, err := options.filled()
	if err != nil {
		return nil, err
	}
	return &Backend{conn: conn, opts: filled, ready: make(chan struct{})}, nil
}

// Ready is closed when the subscriptions of Serve are in force at the NATS server.
func (b *Backend) Ready() <-chan struct{} { return b.ready }

// AuthorizeConnect answers who may open a socket. One backend of a fleet does. A Refuse refuses the connect with HTTP 403, its reason is for the gateway's log.
func (b *Backend) AuthorizeConnect(f func(context.Context, *ConnectRequest) (ConnectReply, error)) {
	b.mustNotServe()
	b.connect = f
}

// GatewayLost is told that a gateway died. Its channel ids begin with the gateway's id and a dot; those that were tracked are told to Left too, others are not.
// Its error is logged.
func (b *Backend) GatewayLost(f func(ctx context.Context, gateway string) error) {
	b.mustNotServe()
	b.gatewayLost = f
}

// Topic begins what is served on the topics of a pattern: a topic, or a prefix that ends in "*", as in Phoenix's channel macro. It panics for anything else.
func (b *Backend) Topic(topic string) *Topic {
	b.mustNotServe()
	p, ok := parsePattern(topic)
	if !ok {
		panic(fmt.Sprintf("backend: %q is no pattern of topics", topic))
	}
	t := &Topic{backend: b, pattern: p}
	b.topics = append(b.topics, t)
	return t
}

func (b *Backend) mustNotServe() {
	if b.served.Load() {
		panic("backend: it serves already, and what it serves cannot change")
	}
}

// Handler answers an event. Its ctx ends after Options.Timeout and holds the event's trace context. What it returns is for the client; see the package's comment about
// errors.
type Handler func(ctx context.Context, e *Event) (Reply, error)

// Topic is what is served on the topics of one pattern. Its methods return it, so that calls can be chained.
type Topic struct {
	backend  *Backend
	pattern  pattern
	handlers []handler
	join     func(context.Context, *JoinRequest) (JoinReply, error)
	joined   func(context.Context, *Event) error
	left     func(ctx context.Context, e *Event, reason string) error
}

// handler is a Handler and what it is for.
type handler struct {
	event      pattern
	handle     Handler
	concurrent bool
}

// Handle answers the events of a name, or of a prefix that ends in "*", as handle_in/3 does. It gets calls, and casts, whose reply is dropped. It panics if event is no pattern.
func (t *Topic) Handle(event string, f Handler) *Topic { return t.handle(event, f, false) }

// HandleConcurrent is Handle for a rule that says `concurrent: true`: the events of one channel are handled at once, in no order.
func (t *Topic) HandleConcurrent(event string, f Handler) *Topic { return t.handle(event, f, true) }

// Cast is Handle for events that are never replied to; a call is answered with no reply.
func (t *Topic) Cast(event string, f func(context.Context, *Event) error) *Topic {
	return t.handle(event, func(ctx context.Context, e *Event) (Reply, error) { return NoReply(), f(ctx, e) }, false)
}

func (t *Topic) handle(event string, f Handler, concurrent bool) *Topic {
	t.backend.mustNotServe()
	p, ok := parsePattern(event)
	if !ok {
		panic(fmt.Sprintf("backend: %q is no pattern of events", event))
	}
	t.handlers = append(t.handlers, handler{event: p, handle: f, concurrent: concurrent})
	return t
}

// AuthorizeJoin answers who may join, as join/3 does. One backend of a fleet does for a topic; joins that no AuthorizeJoin matches are left to others. A Refuse is
// what the client's join is refused with. It is asked about joined channels too, see JoinRequest.
func (t *Topic) AuthorizeJoin(f func(context.Context, *JoinRequest) (JoinReply, error)) *Topic {
	t.backend.mustNotServe()
	t.join = f
	return t
}

// Joined is told of a channel that began, after the client got the join's reply: the place of Phoenix's `send(self(), :after_join)`. Its event has the join's params as payload.
// An error, a Refuse too, crashes the channel.
func (t *Topic) Joined(f func(context.Context, *Event) error) *Topic {
	t.backend.mustNotServe()
	t.joined = f
	return t
}

// Left is told of a channel that ended, as terminate/2 is, after its last event: once for each Joined, unless a gateway died (see GatewayLost). The reasons are in docs/contract.md, "One
// channel, one socket". Its error is logged.
func (t *Topic) Left(f func(ctx context.Context, e *Event, reason string) error) *Topic {
	t.backend.mustNotServe()
	t.left = f
	return t
}
