package gateway

import (
	"errors"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// join handles phx_join on a topic without a channel (Phoenix 1.8 socket.ex, handle_in/4). replaces is the join_ref of the channel that was ended
// for it, nil if there was none.
func (l *loop) join(s *socket, it item, topicName string, replaces *phx.Ref) {
	refuse := func(joinRef phx.Ref, body []byte, outcome int) {
		l.stats.joins.add(outcome, 1)
		l.reply(s, joinRef, it.ref, topicName, "error", body)
		if replaces != nil {
			l.notice(s, *replaces, topicName, "phx_close", emptyObject)
		}
	}
	if !validTopic(topicName) {
		refuse(it.joinRef, reasonBody(reasonInvalidTopic), joinRefused)
		return
	}
	rule := l.srv.rules.Load().Match(topicName)
	switch {
	case rule == nil:
		refuse("", reasonBody(reasonUnmatchedTopic), joinUnmatched)
		return
	case len(s.channels) >= l.srv.cfg.MaxChannelsPerSocket:
		refuse(it.joinRef, reasonBody(reasonTooManyChannels), joinRefused)
		return
	case rule.Join == rules.JoinDeny:
		l.endLinger(s, topicName)
		refuse(it.joinRef, reasonBody(reasonUnauthorized), joinRefused)
		return
	case rule.Join != rules.JoinAuthz && !l.srv.bus.Available():
		refuse(it.joinRef, reasonBody(reasonUnavailable), joinUnavailable)
		return
	case !l.allowJoin(s):
		refuse(it.joinRef, reasonBody(reasonRateLimited), joinRefused)
		return
	case rule.Join == rules.JoinIf && !l.allows(rule, s, topicName, it.payload):
		l.endLinger(s, topicName)
		refuse(it.joinRef, reasonBody(reasonUnauthorized), joinRefused)
		return
	}
	s.joins++
	ch := &channel{socket: s, member: -1, n: s.joins, nullRef: it.joinRef == "", tag: it.joinRef.Or(it.ref), assigns: s.assigns}
	ch.more = &channelMore{params: it.payload, ref: it.ref, replaces: replaces}
	if !l.charge(ch, it.size()) {
		refuse(it.joinRef, reasonBody(reasonOverloaded), joinRefused)
		return
	}
	passed, refusal := l.admitJoin(ch)
	if refusal != "" {
		l.charge(ch, -it.size())
		refuse(it.joinRef, reasonBody(refusal), joinRefused)
		return
	}
	var confirmed bool
	ch.topic, confirmed = l.srv.hub.acquire(topicName, l, l.waitFor(ch))
	ch.more.confirmed = confirmed
	s.channels = append(s.channels, ch)
	if rule.Join != rules.JoinAllow {
		ch.authz, ch.more.rechecks = authzDecided, ch.topic.rechecks
	}
	ch.more.allowed = rule.Join != rules.JoinAuthz
	if passed {
		l.decideJoin(ch)
	}
}

// decideJoin has a join decided whose turn it is: by its rule, or by the authorizer.
func (l *loop) decideJoin(ch *channel) {
	if ch.more.allowed {
		ch.more.decision = &JoinDecision{OK: true, Response: emptyObject, Assigns: ch.socket.assigns}
		l.tryJoin(ch)
		return
	}
	l.authorize(ch, &JoinRequest{Params: ch.more.params}, l.joinDecided)
}

// allows asks the rule's condition; one that fails refuses.
func (l *loop) allows(rule *rules.Rule, s *socket, topic string, params []byte) bool {
	ok, err := rule.If.Allows(&rules.Joiner{
		Topic: topic, Params: params, Assigns: s.assigns, SocketID: s.id, Transport: "websocket", Peer: s.peer.String(),
	})
	if err != nil {
		l.srv.warn("join refused: the rule's condition failed", "topic", topic, "line", rule.Line, "err", err)
	}
	return ok && err == nil
}

// waitFor brings the answer to a join's wait for its topic's subscription to the loop.
func (l *loop) waitFor(ch *channel) func(error) {
	return func(err error) {
		l.mailbox.post(mailFunc(func(l *loop) { l.joinConfirmed(ch, err) }))
	}
}

// joinConfirmed goes on when the topic's subscription is in force, or cannot be.
func (l *loop) joinConfirmed(ch *channel, err error) {
	if ch.state != joining {
		return
	}
	if err != nil {
		reason := reasonUnavailable
		if ch.more.decision == nil && !ch.more.allowed {
			reason = reasonAuthzUnavailable // the authorizer is asked over the same connection
		}
		l.refuseJoin(ch, reasonBody(reason), joinUnavailable)
		return
	}
	ch.more.confirmed = true
	l.tryJoin(ch)
}

// joinDecided goes on when the authorizer has answered.
func (l *loop) joinDecided(ch *channel, d *JoinDecision, err error) {
	if ch.state != joining {
		return
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		l.refuseJoin(ch, reasonBody(reasonPayloadTooLarge), joinRefused)
	case err != nil:
		l.srv.warn("join not decided", "channel", ch.id(), "err", err)
		l.refuseJoin(ch, reasonBody(reasonAuthzUnavailable), joinUnavailable)
	case !d.OK:
		l.endLinger(ch.socket, ch.topic.name)
		l.refuseJoin(ch, d.Response, joinRefused)
	case d.isPast():
		l.refuseJoin(ch, reasonBody(reasonUnauthorized), joinRefused)
	default:
		ch.more.decision = d
		l.tryJoin(ch)
	}
}

// tryJoin completes the join if both the decision and the subscription are there.
func (l *loop) tryJoin(ch *channel) {
	m := ch.more
	if m.decision == nil || !m.confirmed {
		return
	}
	d, s := m.decision, ch.socket
	part, err := l.partOf(ch, d)
	if err != nil {
		l.refuseJoin(ch, errorBody(err), joinRefused)
		return
	}
	// What came before this moment is not for the new member.
	l.flushFor(ch)
	ch.state = joined
	l.grant(ch, d)
	ch.topic.addMember(ch)
	l.srv.hub.joined(ch.topic.name, s.form())
	l.stats.joins.add(joinOK, 1)
	l.stats.channels.add(1)
	l.reply(s, ch.joinRef(), m.ref, ch.topic.name, "ok", d.Response)
	if m.replaces != nil {
		l.notice(s, *m.replaces, ch.topic.name, "phx_close", emptyObject)
	}
	l.joinPresence(ch, part)
	if s.id == "" {
		l.endLinger(s, ch.topic.name)
	}
	if rule := l.ruleOf(ch); rule != nil && rule.Deliver != nil {
		l.classOf(ch, rule.Deliver)
	}
	params := m.params
	m.decision, m.replaces, m.ref = nil, nil, ""
	if rule := l.ruleOf(ch); rule == nil || !rule.NeedsParams() {
		m.params = nil
	}
	joinCharge := m.charged
	for it := range m.waiting.all() {
		joinCharge -= it.size()
	}
	l.charge(ch, -max(joinCharge, 0))
	e := l.eventOf(ch)
	e.Payload, e.Trace = params, l.trace(s)
	if err = l.srv.bus.Joined(e); err != nil {
		l.stats.dropped.add(droppedJoined, 1)
	}
	ch.trim()
	if ch.authz&authzDecided != 0 {
		l.params.keep(ch, params)
		if m.recheck || m.rechecks != ch.topic.rechecks { // what was decided may be of a time before
			l.recheck(ch)
			l.askRechecks()
		}
	}
	l.resume(ch)
}

// refuseJoin answers a join with an error. What waited behind it is handled as on a topic that is not joined.
func (l *loop) refuseJoin(ch *channel, body []byte, outcome int) {
	s, m := ch.socket, ch.more
	l.stats.joins.add(outcome, 1)
	l.removeChannel(ch)
	l.reply(s, ch.joinRef(), m.ref, ch.topic.name, "error", body)
	if m.replaces != nil {
		l.notice(s, *m.replaces, ch.topic.name, "phx_close", emptyObject)
	}
	l.again(s, ch.topic.name, &m.waiting)
}

// rejoin handles phx_join on a topic that has a channel: the older one ends at once, the join is decided as any other, and the old one's phx_close follows
// its reply (Phoenix 1.8 socket.ex, shutdown_duplicate_channel/1).
func (l *loop) rejoin(ch *channel, it item) {
	s, old := ch.socket, ch.joinRef()
	l.endChannel(ch, leftRejoined)
	l.join(s, it, ch.topic.name, &old)
}

// validTopic reports whether a topic is within the contract's limits: 1-255 bytes and at most 16 parts.
func validTopic(topic string) bool {
	parts := 1
	for i := range len(topic) {
		if topic[i] == ':' {
			parts++
		}
	}
	return topic != "" && len(topic) <= 255 && parts <= 16
}
