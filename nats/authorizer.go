package nats

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/authz"
	"github.com/phxgate/phxgate/gateway"
)

// Authorizer asks the authz service about connects and joins. It implements [gateway.Authorizer].
type Authorizer struct {
	bus     *Bus
	timeout time.Duration

	// Of joins that are asked about together: batches.go.
	batches atomic.Bool  // somebody answers batches
	nextTry atomic.Int64 // when that may be tried again, in unix nanoseconds
}

var _ gateway.Authorizer = (*Authorizer)(nil)

// NewAuthorizer makes an authorizer that waits for an answer at most as long as timeout.
func NewAuthorizer(bus *Bus, timeout time.Duration) *Authorizer {
	return &Authorizer{bus: bus, timeout: timeout}
}

// AuthorizeConnect implements [gateway.Authorizer].
func (a *Authorizer) AuthorizeConnect(r *gateway.ConnectRequest, done func(*gateway.ConnectDecision, error)) {
	req := authz.ConnectRequest{Transport: r.Transport, Vsn: r.Vsn, Params: r.Params, Claims: r.Claims, Peer: r.Peer, Headers: r.Headers}
	if r.HasToken {
		req.AuthToken = &r.AuthToken
	}
	a.tryBatches() // joins will follow
	a.ask(a.bus.subjects.AuthzConnect(), r.Trace, req.Append(nil), func(body []byte, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		reply, err := authz.ParseConnectReply(body)
		if errors.Is(err, authz.ErrSocketID) {
			done(&gateway.ConnectDecision{Reason: err.Error()}, nil)
			return
		}
		var assigns []byte
		if err == nil {
			assigns, err = gateway.MergeAssigns(nil, reply.Assigns)
		}
		if err != nil {
			done(nil, a.nonsense(a.bus.subjects.AuthzConnect(), err))
			return
		}
		done(&gateway.ConnectDecision{Allow: reply.Allow, Reason: reply.Reason, ID: reply.ID, Assigns: assigns, ExpiresAt: unixTime(reply.ExpiresAt)}, nil)
	})
}

// joinQuestion is a join request with its JSON.
type joinQuestion struct {
	gateway.JoinAsk
	body []byte
}

// newJoinQuestion encodes a request.
func newJoinQuestion(ask gateway.JoinAsk) joinQuestion {
	r := ask.JoinRequest
	req := authz.JoinRequest{Topic: r.Topic, Params: r.Params, Channel: r.Channel, Reauthorize: r.Reauthorize, Recheck: r.Recheck, Socket: authz.SocketInfo{
		Assigns: r.Assigns, Transport: r.Transport, Peer: r.Peer,
	}}
	if r.SocketID != "" {
		req.Socket.ID = &r.SocketID
	}
	return joinQuestion{ask, req.Append(nil)}
}

// askJoin asks one question.
func (a *Authorizer) askJoin(q joinQuestion) {
	a.ask(a.bus.subjects.AuthzJoin(), q.Trace, q.body, func(body []byte, err error) {
		if err != nil {
			q.Done(nil, err)
			return
		}
		a.answered(q, a.bus.subjects.AuthzJoin(), body)
	})
}

// answered reads the answer to a question, which came on a subject.
func (a *Authorizer) answered(q joinQuestion, subject string, body []byte) {
	reply, err := authz.ParseJoinReply(body)
	var assigns []byte
	if err == nil {
		assigns, err = gateway.MergeAssigns(q.Assigns, reply.Assigns)
	}
	if err != nil {
		q.Done(nil, a.nonsense(subject, err))
		return
	}
	var presence *gateway.JoinPresence
	if p := reply.Presence; p != nil {
		presence = &gateway.JoinPresence{Tracked: p.HasKey, Key: p.Key, Meta: p.Meta}
	}
	q.Done(&gateway.JoinDecision{
		Presence: presence,
		OK:       reply.OK, Response: reply.Response, Assigns: assigns, Granted: reply.Assigns, Events: reply.Events, HasEvents: reply.HasEvents, ExpiresAt: unixTime(reply.ExpiresAt),
	}, nil)
}

// ask makes one request, with a trace context where t has one.
func (a *Authorizer) ask(subject string, t gateway.Trace, body []byte, done func([]byte, error)) {
	var h natsgo.Header
	if t != (gateway.Trace{}) {
		h = natsgo.Header{}
		setTrace(h, t)
	}
	err := a.bus.request(subject, h, body, a.timeout, func(m *natsgo.Msg, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(m.Data, nil)
	})
	if err != nil {
		done(nil, err)
	}
}

// nonsense tells that a reply makes no sense. The error holds nothing of the reply.
func (a *Authorizer) nonsense(subject string, err error) error {
	a.bus.stats.Dropped[dropAuthz].Add(1)
	a.bus.report(subject, dropAuthz.String(), strings.TrimPrefix(err.Error(), authz.ErrNonsense.Error()+": "))
	return fmt.Errorf("%w: %w", gateway.ErrBadAnswer, err)
}

// unixTime is a time from unix seconds; 0 is none.
func unixTime(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0)
}
