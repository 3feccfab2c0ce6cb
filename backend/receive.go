package backend

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend/internal/wire"
)

// job is what one message asks for.
type job struct {
	channel string // whose turn it waits for; empty: nobody's
	run     func(context.Context)
	refuse  func() // answers that there are too many; nil: nobody can be told
}

// errBadMessage is for a message that no gateway sent.
var errBadMessage = errors.New("bad message")

// Deliver handles one message as if NATS had brought it, and returns when that is done: for tests. It does not wait for the turn of the message's channel.
// ok is false if nothing here is for it.
func (b *Backend) Deliver(ctx context.Context, msg *nats.Msg) (ok bool, err error) {
	jobs, err := b.receive(msg)
	for _, j := range jobs {
		b.run(ctx, j, msg)
	}
	return len(jobs) > 0, err
}

// run gives a job the ctx that handlers have.
func (b *Backend) run(ctx context.Context, j job, msg *nats.Msg) {
	ctx, cancel := context.WithTimeout(withTraceOf(ctx, msg), b.opts.Timeout)
	defer cancel()
	j.run(ctx)
}

// receive says what a message asks for, nothing if it is for another backend. Topic and event are those of the subject, which NATS's permissions guard, not those of the headers.
func (b *Backend) receive(msg *nats.Msg) ([]job, error) {
	rest, ok := strings.CutPrefix(msg.Subject, b.opts.Prefix+".")
	kind, tokens, _ := strings.Cut(rest, ".")
	if !ok {
		return nil, errBadMessage
	}
	switch kind {
	case "event":
		return b.receiveEvent(msg, tokens)
	case "joined", "left":
		return b.receiveMembership(msg, kind, tokens)
	case "authz":
		return b.receiveAuthz(msg, tokens)
	case "gateway":
		return b.receiveGateway(msg, tokens)
	}
	return nil, errBadMessage
}

func (b *Backend) receiveEvent(msg *nats.Msg, tokens string) ([]job, error) {
	eventToken, topicTokens, _ := strings.Cut(tokens, ".")
	name, ok := wire.ParseToken(eventToken)
	if !ok {
		return nil, errBadMessage
	}
	e, err := newEvent(msg, topicTokens)
	if err != nil {
		return nil, err
	}
	e.Name, e.Call = name, msg.Reply != ""
	h := b.handlerFor(e.Topic, name)
	if h == nil {
		return nil, nil
	}
	j := job{channel: e.Channel, run: func(ctx context.Context) { b.handle(ctx, h, e, msg.Reply) }}
	if h.concurrent {
		j.channel = ""
	}
	if e.Call {
		j.refuse = func() { b.answerOverloaded(msg) }
	}
	return []job{j}, nil
}

// handlerFor is the first handler of the first topic that match, nil if there is none.
func (b *Backend) handlerFor(topic, event string) *handler {
	t := b.topicFor(topic, func(t *Topic) bool { return len(t.handlers) > 0 })
	if t == nil {
		return nil
	}
	for i := range t.handlers {
		if t.handlers[i].event.matches(event) {
			return &t.handlers[i]
		}
	}
	return nil
}

// topicFor is the first topic that matches and has what is asked for.
func (b *Backend) topicFor(topic string, has func(*Topic) bool) *Topic {
	for _, t := range b.topics {
		if t.pattern.matches(topic) && has(t) {
			return t
		}
	}
	return nil
}

func (b *Backend) receiveMembership(msg *nats.Msg, kind, topicTokens string) ([]job, error) {
	e, err := newEvent(msg, topicTokens)
	if err != nil {
		return nil, err
	}
	if kind == "joined" {
		t := b.topicFor(e.Topic, func(t *Topic) bool { return t.joined != nil })
		if t == nil {
			return nil, nil
		}
		return []job{{channel: e.Channel, run: func(ctx context.Context) { b.tellJoined(ctx, t, e) }}}, nil
	}
	t := b.topicFor(e.Topic, func(t *Topic) bool { return t.left != nil })
	if t == nil {
		return nil, nil
	}
	var body struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(msg.Data, &body); err != nil {
		return nil, err
	}
	e.Payload = nil
	return []job{{channel: e.Channel, run: func(ctx context.Context) { b.tellLeft(ctx, t, e, body.Reason) }}}, nil
}

func (b *Backend) receiveAuthz(msg *nats.Msg, what string) ([]job, error) {
	refuse := func() { b.publishAuthz(msg, noDecision) }
	switch {
	case msg.Reply == "":
		return nil, errBadMessage
	case what == "connect" && b.connect != nil:
		return []job{{refuse: refuse, run: func(ctx context.Context) {
			answer, err := b.authorizeConnect(ctx, msg.Data)
			b.answerAuthz(msg, answer, err)
		}}}, nil
	case what == "join":
		request := new(JoinRequest)
		if err := json.Unmarshal(msg.Data, request); err != nil {
			return nil, err
		}
		t := b.joinTopic(request.Topic)
		if t == nil {
			return nil, nil
		}
		return []job{{refuse: refuse, run: func(ctx context.Context) {
			answer, err := authorizeJoin(ctx, t, request)
			b.answerAuthz(msg, answer, err)
		}}}, nil
	case what == "joins":
		return b.receiveJoins(msg)
	}
	return nil, nil
}

// joinTopic is the topic whose AuthorizeJoin answers for a client's, nil if there is none.
func (b *Backend) joinTopic(topic string) *Topic {
	return b.topicFor(topic, func(t *Topic) bool { return t.join != nil })
}

func (b *Backend) receiveGateway(msg *nats.Msg, what string) ([]job, error) {
	var body struct {
		Gateway string `json:"gateway"`
	}
	if what != "lost" || b.gatewayLost == nil {
		return nil, nil
	}
	if err := json.Unmarshal(msg.Data, &body); err != nil {
		return nil, err
	}
	return []job{{run: func(ctx context.Context) {
		if err := safely(func() error { return b.gatewayLost(ctx, body.Gateway) }); err != nil {
			b.logError("gateway lost", err, "gateway", body.Gateway)
		}
	}}}, nil
}

// newEvent reads what the messages of a channel have in common.
func newEvent(msg *nats.Msg, topicTokens string) (*Event, error) {
	e := &Event{
		Channel: header(msg, "Phx-Channel"), JoinRef: header(msg, "Phx-Join-Ref"), Ref: header(msg, "Phx-Ref"),
		Payload: msg.Data, Binary: header(msg, "Phx-Encoding") == "binary",
	}
	if assigns := header(msg, "Phx-Assigns"); assigns != "" {
		e.Assigns = json.RawMessage(assigns)
	}
	var ok bool
	if e.Topic, ok = wire.ParseTopic(topicTokens); !ok {
		return nil, errBadMessage
	}
	if e.SocketID, ok = wire.ParseHeader(header(msg, "Phx-Socket-Id")); !ok {
		return nil, errBadMessage
	}
	// Somebody who tries a handler by hand has no channel.
	if e.Channel != "" && !wire.ValidChannel(e.Channel) {
		return nil, errBadMessage
	}
	return e, nil
}
