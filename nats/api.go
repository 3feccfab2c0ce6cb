package nats

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/internal/api"
)

// API publishes and asks for backends that come by HTTP. It implements [api.Bus]. Its connection is its own, so that nothing a backend does holds up what the gateway's clients
// send, and so that each publish can be waited for.
type API struct {
	Link
	subjects PresenceSubjects

	mu       sync.Mutex
	attempts map[*attempt]struct{}
	closed   bool
	lastTold error         // the missing permission that the error handler saw last
	told     chan struct{} // closed, and replaced, when lastTold changes

	running sync.WaitGroup // attempts
}

var _ api.Bus = (*API)(nil)

// attempt is what one request publishes.
type attempt struct {
	messages []*natsgo.Msg
	cancel   context.CancelCauseFunc
}

// DialAPI connects. NATS need not be there yet.
func DialAPI(cfg ConnConfig, subjects Subjects, gatewayID string) (*API, error) {
	cfg.InboxPrefix = "_INBOX.phxgate." + gatewayID + ".api" // a part of what gateways may subscribe to
	a := &API{subjects: subjects.Presence(), attempts: map[*attempt]struct{}{}, told: make(chan struct{})}
	return a, a.open(cfg, hooks{denied: a.denied})
}

// Close waits for what is under way, for at most the context's time, and ends the connection. What comes later is answered ErrUnavailable.
func (a *API) Close(ctx context.Context) {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for one := range a.attempts {
			one.cancel(nil)
		}
	})
	defer stop()
	a.running.Wait()
	a.Link.Close()
}

// Broadcast implements [api.Bus].
func (a *API) Broadcast(ctx context.Context, messages []api.Message, trace api.Trace) error {
	for i := range messages {
		if err := checkMessage(&messages[i]); err != nil {
			err.Index = i
			return err
		}
	}
	out := make([]*natsgo.Msg, len(messages))
	for i := range messages {
		out[i] = a.message(&messages[i], trace)
	}
	return a.publishAll(ctx, out)
}

// message is a broadcast as it is published, in the forms that [Bus.Broadcast] has.
func (a *API) message(m *api.Message, trace api.Trace) *natsgo.Msg {
	out := &natsgo.Msg{Subject: a.subjects.Topic(m.Topic)}
	if m.Binary {
		h := natsgo.Header{}
		set(h, "Phx-Event", m.Event)
		set(h, "Phx-Encoding", "binary")
		setRaw(h, "Phx-From", m.From)
		out.Header, out.Data = withTrace(h, trace), m.Payload
		return out
	}
	body := make([]byte, 0, len(m.Payload)+len(m.Event)+len(m.From)+50)
	out.Header, out.Data = withTrace(nil, trace), append(appendEnvelope(body, m.Event, m.Payload, m.From), '}')
	return out
}

// checkMessage checks what a gateway would check of a publish (publish.go), and what it would not know to be wrong: the topic and the channel.
func checkMessage(m *api.Message) *api.Invalid {
	if invalid := checkTopic(m.Topic); invalid != nil {
		return invalid
	}
	if reason := checkEvent(m.Event); reason != dropNone {
		return &api.Invalid{Field: "event", Reason: reason.String()}
	}
	if !m.Binary {
		if reason := checkPayload(m.Payload); reason != dropNone {
			return &api.Invalid{Field: "payload", Reason: reason.String()}
		}
	}
	if m.From != "" && !validChannel(m.From) {
		return &api.Invalid{Field: "from", Reason: "not the id of a channel"}
	}
	return nil
}

func checkTopic(topic string) *api.Invalid {
	if !ValidTopic(topic) {
		return &api.Invalid{Field: "topic", Reason: fmt.Sprintf("want 1 to %d bytes, and at most %d parts between colons", maxTopic, maxTopicParts)}
	}
	return nil
}

// Disconnect implements [api.Bus].
func (a *API) Disconnect(ctx context.Context, socketID string, trace api.Trace) error {
	if !validSocket(socketID) {
		return &api.Invalid{Field: "socket_id", Reason: fmt.Sprintf("want 1 to %d bytes", maxID)}
	}
	header := withTrace(natsgo.Header{"Phx-Action": {"disconnect"}}, trace)
	return a.publishAll(ctx, []*natsgo.Msg{{Subject: a.subjects.Socket(socketID), Header: header}})
}

// withTrace adds a trace context to h, which may be nil: a message without headers is a third of the work for NATS.
func withTrace(h natsgo.Header, t api.Trace) natsgo.Header {
	if t.Parent == "" {
		return h
	}
	if h == nil {
		h = natsgo.Header{}
	}
	setRaw(h, "traceparent", t.Parent)
	setRaw(h, "tracestate", t.State)
	return h
}

// publishAll publishes messages and returns when NATS has them.
func (a *API) publishAll(ctx context.Context, messages []*natsgo.Msg) error {
	ctx, nc, end, err := a.begin(ctx, messages)
	if err != nil {
		return err
	}
	defer end()
	before, reconnects := nc.LastError(), nc.Stats().Reconnects
	for i, m := range messages {
		if err := nc.PublishMsg(m); err != nil {
			if i == 0 {
				return api.ErrUnavailable
			}
			return outcome(ctx, api.ErrNoAnswer)
		}
	}
	if err := nc.FlushWithContext(ctx); err != nil || nc.Stats().Reconnects != reconnects { // the answer may be a later connection's
		return outcome(ctx, api.ErrNoAnswer)
	}
	if nc.LastError() != before { // the server says what it denies before it answers the PING
		if err := a.waitTold(ctx, nc); err != nil {
			return outcome(ctx, err)
		}
	}
	return outcome(ctx, nil)
}

// outcome is err, unless NATS denied what was published.
func outcome(ctx context.Context, err error) error {
	var denied *api.Denied
	if errors.As(context.Cause(ctx), &denied) {
		return denied
	}
	return err
}

// begin notes what is about to be published, so that a missing permission is known to be about it. The new ctx ends with that as its cause. end is to be called once.
func (a *API) begin(ctx context.Context, messages []*natsgo.Msg) (_ context.Context, nc *natsgo.Conn, end func(), err error) {
	if !a.up.Load() {
		return nil, nil, nil, api.ErrUnavailable
	}
	for i, m := range messages {
		size := len(m.Data)
		if m.Header != nil {
			size += headerSize(m.Header)
		}
		if int64(size) > a.maxPayload.Load() {
			return nil, nil, nil, &api.Invalid{Index: i, Field: "payload", Reason: "larger than NATS takes (max_payload)", TooLarge: true}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, nil, nil, api.ErrUnavailable
	}
	ctx, cancel := context.WithCancelCause(ctx)
	one := &attempt{messages, cancel}
	a.attempts[one] = struct{}{}
	a.running.Add(1)
	return ctx, a.nc(), func() {
		a.mu.Lock()
		delete(a.attempts, one)
		a.mu.Unlock()
		cancel(nil)
		a.running.Done()
	}, nil
}

// deniedPublish finds the subject of a publish that the server refused (nats-server client.go, pubPermissionViolation).
var deniedPublish = regexp.MustCompile(`Permissions Violation for Publish to "([^" ]+)"`)

// denied ends the attempts that an error of the server is about.
func (a *API) denied(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := deniedPublish.FindStringSubmatch(err.Error()); m != nil {
		for one := range a.attempts {
			if slices.ContainsFunc(one.messages, func(msg *natsgo.Msg) bool { return msg.Subject == m[1] }) {
				one.cancel(&api.Denied{Subject: m[1]})
			}
		}
	}
	a.lastTold = err
	close(a.told)
	a.told = make(chan struct{})
}

// waitTold waits until the error handler has seen the last missing permission that the connection has seen: nats.go hands it all of them, in order, but later.
func (a *API) waitTold(ctx context.Context, nc *natsgo.Conn) error {
	timer := time.NewTimer(toldTimeout)
	defer timer.Stop()
	for {
		last := nc.LastError()
		a.mu.Lock()
		seen, told := a.lastTold == last, a.told
		a.mu.Unlock()
		if seen || !errors.Is(last, natsgo.ErrPermissionViolation) {
			return nil
		}
		select {
		case <-told:
		case <-timer.C:
			return api.ErrNoAnswer
		case <-ctx.Done():
			return api.ErrNoAnswer
		}
	}
}

// Presences implements [api.Bus].
func (a *API) Presences(ctx context.Context, topic string, request []byte, trace api.Trace) ([]byte, error) {
	if invalid := checkTopic(topic); invalid != nil {
		return nil, invalid
	}
	m := &natsgo.Msg{Subject: a.subjects.List(topic), Header: withTrace(nil, trace), Data: request}
	ctx, nc, end, err := a.begin(ctx, []*natsgo.Msg{m})
	if err != nil {
		return nil, err
	}
	defer end()
	answer, err := nc.RequestMsgWithContext(ctx, m)
	switch {
	case err == nil:
		return readList(answer.Data)
	case errors.Is(err, natsgo.ErrNoResponders):
		return nil, api.ErrNoPresence
	}
	return nil, outcome(ctx, api.ErrNoAnswer)
}

// readList reads an answer to a list. The value of "error" is a string in a refusal alone: of somebody who is called so it is an object.
func readList(body []byte) ([]byte, error) {
	if phx.CheckJSONDepth(body, phx.AnyDepth) != nil || !phx.IsObject(body) {
		return nil, api.ErrBadAnswer
	}
	raw, ok := phx.Member(body, "error")
	if !ok || raw[0] != '"' {
		return body, nil
	}
	switch string(raw) {
	case `"too large, ask for pages"`:
		return nil, api.ErrTooLarge
	case `"unavailable"`:
		return nil, api.ErrNoPresence
	}
	return nil, api.ErrBadAnswer
}
