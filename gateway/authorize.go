package gateway

import (
	"errors"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// authzFlags say how a channel stands with who decides about it.
type authzFlags uint8

const (
	authzDecided  authzFlags = 1 << iota // the authorizer or the rule's condition decides about the join, and can be asked again
	recheckQueued                        // the channel waits to be asked about anew
	recheckAsking                        // that is under way
	recheckAgain                         // and must be done once more, since another order came meanwhile
)

// authorize asks the authorizer about a channel; r says with which params and why. decided gets the answer on the loop, whatever became of the channel.
func (l *loop) authorize(ch *channel, r *JoinRequest, decided func(*channel, *JoinDecision, error)) {
	s := ch.socket
	r.Topic, r.Channel, r.SocketID, r.Assigns, r.Transport, r.Peer = ch.topic.name, ch.id(), s.id, s.assigns, "websocket", s.peer.String()
	r.Trace = l.trace(s)
	l.asks = append(l.asks, JoinAsk{JoinRequest: r, socket: s, Done: func(d *JoinDecision, err error) {
		l.mailbox.post(mailFunc(func(*loop) { decided(ch, d, err) }))
	}})
}

// askAuthorizer hands over what authorize has gathered, which is of one read of a socket, or of one turn's mail. What different sockets ask is not put together: a client's params must
// not spoil the answer to another's.
func (l *loop) askAuthorizer() {
	for rest := l.asks; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].socket == rest[0].socket {
			n++
		}
		l.srv.authorizer.AuthorizeJoins(rest[:n])
		rest = rest[n:]
	}
	clear(l.asks)
	l.asks = l.asks[:0]
}

// conditionDecides is what the rule's condition says of a channel with such params.
func (l *loop) conditionDecides(ch *channel, rule *rules.Rule, params []byte) *JoinDecision {
	if !l.allows(rule, ch.socket, ch.topic.name, params) {
		return &JoinDecision{Response: reasonBody(reasonUnauthorized)}
	}
	return &JoinDecision{OK: true, Response: emptyObject, Assigns: ch.socket.assigns}
}

// isPast reports whether what was decided is over already.
func (d *JoinDecision) isPast() bool { return !d.ExpiresAt.IsZero() && !d.ExpiresAt.After(time.Now()) }

// grant gives a channel what was decided, in the place of what it had. What backends have assigned stays beside that, if there is room for both; else the channel has ended, and false is returned.
func (l *loop) grant(ch *channel, d *JoinDecision) bool {
	m := ch.extra()
	assigns := d.Assigns
	if m.assigned != nil {
		var err error
		if assigns, m.assigned, err = regrantAssigns(ch.socket.assigns, m.assigned, d.Granted); err != nil {
			l.outgrown(ch, err, Dropped{Channel: ch.id()})
			l.crashChannel(ch, leftCrashed)
			return false
		}
	}
	ch.assigns, m.events, m.expires = assigns, nil, 0
	if d.HasEvents {
		m.events = make(map[string]struct{}, len(d.Events))
		for _, e := range d.Events {
			m.events[e] = struct{}{}
		}
	}
	if !d.ExpiresAt.IsZero() {
		m.expires = l.at(d.ExpiresAt)
		l.deadlineBy(ch.socket, m.expires)
	}
	return true
}

// outgrown says that a channel's assigns are too large, with what a backend has just said.
func (l *loop) outgrown(ch *channel, err error, about Dropped) {
	about.Reason = toldAssigns
	l.srv.dropped(droppedAssigns, about)
	l.srv.warn("channel ended: assigns", "channel", ch.id(), "err", err)
}

// revoke ends a channel that is refused now, for good: a client that rejoined would be refused again. Broadcasts that wait are not for it any more.
func (l *loop) revoke(ch *channel) {
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_close", emptyObject)
	l.endChannel(ch, leftKicked)
}

// reauthorize has a channel decided about with the join's params as a client's event changes them. What is behind the event waits for the answer. It returns why that cannot be done,
// "" if it is done or under way.
func (l *loop) reauthorize(ch *channel, it *item, rule *rules.Rule, er *rules.EventRule) (refusal string) {
	if it.binary || !phx.IsObject(it.payload) {
		return reasonInvalidPayload
	}
	if ch.state != joined { // its socket is gone
		return reasonUnavailable
	}
	before := l.params.get(ch) // {} where nobody decided about the join, under the rules of that time
	if before.missing != "" {
		return before.missing
	}
	var merged membersMerge
	merged.add([]byte(before.raw)) // where that is no object it has no members
	merged.add(it.payload)
	params := merged.append(nil)
	if len(params) > maxKeptParams {
		return reasonPayloadTooLarge
	}
	ref, reply := it.ref, er.Reply
	if rule.Join == rules.JoinIf {
		l.reauthorized(ch, params, l.conditionDecides(ch, rule, params), nil, ref, reply)
		return ""
	}
	ch.busy = true
	l.authorize(ch, &JoinRequest{Params: params, Reauthorize: true}, func(ch *channel, d *JoinDecision, err error) {
		ch.busy = false
		if ch.state == joined {
			l.reauthorized(ch, params, d, err, ref, reply)
		}
		l.resume(ch)
	})
	return ""
}

// reauthorized takes the answer. Without one the channel stays as it was: it is authorized until it expires.
func (l *loop) reauthorized(ch *channel, params []byte, d *JoinDecision, err error, ref phx.Ref, reply bool) {
	refuse := func(response []byte) {
		l.stats.events.add(eventRefused, 1)
		l.reply(ch.socket, ch.tag, ref, ch.topic.name, "error", response)
	}
	switch {
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrUnavailable):
		refuse(reasonBody(reasonOf(err)))
	case err != nil:
		l.srv.warn("reauthorization not decided", "channel", ch.id(), "err", err)
		refuse(reasonBody(reasonAuthzUnavailable))
	case !d.OK:
		refuse(d.Response)
		l.revoke(ch)
	case d.isPast():
		refuse(reasonBody(reasonUnauthorized))
		l.revoke(ch)
	case l.grant(ch, d):
		l.stats.events.add(int(rules.Reauthorize), 1)
		ch.authz |= authzDecided
		l.params.keep(ch, params)
		if ch.more.params != nil { // a rule draws on them
			ch.more.params = params
		}
		if reply {
			l.flushFor(ch)
			l.reply(ch.socket, ch.tag, ref, ch.topic.name, "ok", d.Response)
		}
		ch.trim()
	}
}
