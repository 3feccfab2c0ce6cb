package gateway

import (
	"errors"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// channelState is where a channel is in its life. Owned by the socket's loop.
//
//	joining ──decision ok and subscription in force──▶ joined ──▶ ended
//	   └──refused, unavailable, socket gone──▶ ended      │
//	                                                      └──socket gone, events wait──▶ draining ──▶ ended
//
// joined → ended: its leave took its turn, a backend closed or crashed it, a duplicate join, a kick, a gap, expiry, the socket's end with
// nothing waiting. draining: events that came before the socket's end are still handed over.
type channelState uint8

const (
	joining channelState = iota
	joined
	draining
	ended
)

// channel is one socket joined to one topic. Seen from the topic it is a member.
type channel struct {
	socket   *socket
	topic    *topic
	member   int32  // place in topic.members; -1: none
	n        uint32 // last part of the channel id
	state    channelState
	busy     bool // a call waits for its answer: events behind it wait
	leaving  bool // a leave waits for its turn
	excluded bool // during one fan-out: some broadcast must not go here
	gapped   bool // told to rejoin after a gap, at its time
	nullRef  bool // the join had no join_ref
	// tag is what pushes and replies carry as join_ref: the join's join_ref, or its ref if that was null (Phoenix 1.8 channel/server.ex, join/4).
	tag     phx.Ref
	assigns []byte // JSON object in ASCII, the socket's merged in; nil for none
	more    *channelMore
}

// channelMore is what few channels have.
type channelMore struct {
	waiting   []item // events, leaves and joins that wait for their turn, in order
	charged   int    // bytes counted in socket.waiting and loop.waitingBytes: of waiting, and of the join while it is under way
	params    []byte // join params, while joining and where a rule needs them later
	ref       phx.Ref
	reason    string   // for phx.left, while draining
	replaces  *phx.Ref // join_ref of the channel that this join replaces; its phx_close follows the join reply
	decision  *JoinDecision
	confirmed bool
	events    map[string]struct{} // events that the client may send; nil: all
	limiter   *limiter
	expires   tick // 0: never
}

// item is one message of the client that waits for its turn.
type item struct {
	kind    itemKind
	ref     phx.Ref
	joinRef phx.Ref
	event   string
	payload []byte
	binary  bool
}

type itemKind uint8

const (
	itemEvent itemKind = iota
	itemLeave
	itemJoin
	itemRefusal // an event that was refused at arrival, while a join reply must come first; event is the reason
)

// Bounds of what waits for its turn. The count of one channel's events is the contract's; the bytes are of all channels of a socket, so that one client does not
// hold a hundred times a thousand large events. All sockets together are bounded by INBOUND_BYTES_TOTAL.
const (
	maxWaiting      = 1000
	maxWaitingBytes = 4 << 20
)

// size is what an item counts in bytes.
func (it *item) size() int {
	return len(it.payload) + len(it.ref) + len(it.joinRef) + len(it.event) + 96
}

// charge counts bytes that wait at a channel; false if there is no room for them. A negative n gives them back.
func (l *loop) charge(ch *channel, n int) bool {
	s := ch.socket
	if n > 0 && (s.waiting > 0 && s.waiting+n > maxWaitingBytes || l.waitingBytes+n > l.inboundLimit) {
		return false
	}
	ch.extra().charged += n
	s.waiting += n
	l.waitingBytes += n
	return true
}

// joinRef is the join_ref exactly as the join had it.
func (ch *channel) joinRef() phx.Ref {
	if ch.nullRef {
		return ""
	}
	return ch.tag
}

// extra returns ch.more, made if there is none.
func (ch *channel) extra() *channelMore {
	if ch.more == nil {
		ch.more = &channelMore{}
	}
	return ch.more
}

// trim lets an empty ch.more go.
func (ch *channel) trim() {
	m := ch.more
	if m != nil && len(m.waiting) == 0 && m.params == nil && m.events == nil && m.limiter == nil && m.expires == 0 {
		ch.more = nil
	}
}

// enqueue puts an item at the end; false if too much waits. A first leave and a first join always have room: without them a client would not be let go.
func (l *loop) enqueue(ch *channel, it item) bool {
	m := ch.extra()
	forced := it.kind == itemLeave || it.kind == itemJoin && !m.hasJoin()
	if !forced && len(m.waiting) >= maxWaiting {
		return false
	}
	if !l.charge(ch, it.size()) {
		if it.kind != itemLeave {
			return false
		}
	}
	m.waiting = append(m.waiting, it)
	return true
}

// hasJoin reports whether a join waits.
func (m *channelMore) hasJoin() bool {
	for i := range m.waiting {
		if m.waiting[i].kind == itemJoin {
			return true
		}
	}
	return false
}

// dequeue takes the first item.
func (l *loop) dequeue(ch *channel) (item, bool) {
	m := ch.more
	if m == nil || len(m.waiting) == 0 {
		return item{}, false
	}
	it := m.waiting[0]
	m.waiting[0] = item{}
	m.waiting = m.waiting[1:]
	l.charge(ch, -min(it.size(), m.charged))
	if len(m.waiting) == 0 {
		m.waiting = nil
	}
	return it, true
}

// queued reports whether something waits.
func (ch *channel) queued() bool { return ch.more != nil && len(ch.more.waiting) > 0 }

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
		refuse(it.joinRef, reasonBody(reasonUnauthorized), joinRefused)
		return
	case rule.Join == rules.JoinAllow && !l.srv.bus.Available():
		refuse(it.joinRef, reasonBody(reasonUnavailable), joinUnavailable)
		return
	}
	s.joins++
	ch := &channel{socket: s, member: -1, n: s.joins, nullRef: it.joinRef == "", tag: it.joinRef.Or(it.ref), assigns: s.assigns}
	ch.more = &channelMore{params: it.payload, ref: it.ref, replaces: replaces, limiter: newLimiter(rule.Limits)}
	if !l.charge(ch, it.size()) {
		refuse(it.joinRef, reasonBody(reasonOverloaded), joinRefused)
		return
	}
	var confirmed bool
	ch.topic, confirmed = l.srv.hub.acquire(topicName, l, func(err error) {
		l.mailbox.post(mailFunc(func(l *loop) { l.joinConfirmed(ch, err) }))
	})
	ch.more.confirmed = confirmed
	s.channels = append(s.channels, ch)
	if rule.Join == rules.JoinAllow {
		ch.more.decision = &JoinDecision{OK: true, Response: emptyObject, Assigns: s.assigns}
		l.tryJoin(ch)
		return
	}
	l.srv.authorizer.AuthorizeJoin(&JoinRequest{
		Topic: topicName, Params: it.payload, Channel: ch.id(), SocketID: s.id, Assigns: s.assigns,
		Transport: "websocket", Peer: s.peer.String(),
	}, func(d *JoinDecision, err error) {
		l.mailbox.post(mailFunc(func(l *loop) { l.joinDecided(ch, d, err) }))
	})
}

// joinConfirmed goes on when the topic's subscription is in force, or cannot be.
func (l *loop) joinConfirmed(ch *channel, err error) {
	if ch.state != joining {
		return
	}
	if err != nil {
		reason := reasonUnavailable
		if ch.more.decision == nil {
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
		l.refuseJoin(ch, d.Response, joinRefused)
	case !d.ExpiresAt.IsZero() && !d.ExpiresAt.After(time.Now()):
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
	// What came before this moment is not for the new member.
	l.flushTopic(ch.topic)
	ch.state = joined
	ch.assigns = d.Assigns
	if d.HasEvents {
		m.events = make(map[string]struct{}, len(d.Events))
		for _, e := range d.Events {
			m.events[e] = struct{}{}
		}
	}
	if !d.ExpiresAt.IsZero() {
		m.expires = l.at(d.ExpiresAt)
		l.deadlineBy(s, m.expires)
	}
	ch.topic.addMember(ch)
	l.srv.hub.joined(ch.topic.name, s.serializer)
	l.stats.joins.add(joinOK, 1)
	l.stats.channels.add(1)
	l.reply(s, ch.joinRef(), m.ref, ch.topic.name, "ok", d.Response)
	if m.replaces != nil {
		l.notice(s, *m.replaces, ch.topic.name, "phx_close", emptyObject)
	}
	params := m.params
	m.decision, m.replaces, m.ref = nil, nil, ""
	if rule := l.ruleOf(ch); rule == nil || !rule.NeedsParams() {
		m.params = nil
	}
	joinCharge := m.charged
	for i := range m.waiting {
		joinCharge -= m.waiting[i].size()
	}
	l.charge(ch, -max(joinCharge, 0))
	e := l.eventOf(ch)
	e.Payload = params
	if err := l.srv.bus.Joined(e); err != nil {
		l.stats.dropped.add(droppedJoined, 1)
	}
	ch.trim()
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
	l.again(s, ch.topic.name, m.waiting)
}

// again handles items that waited at a channel that is gone, in order, as if they came now: a join among them begins the channel that the rest is for.
func (l *loop) again(s *socket, topic string, items []item) {
	for _, it := range items {
		ch := s.channelOf(topic)
		switch {
		case it.kind == itemRefusal:
			l.reply(s, "", it.ref, topic, "error", reasonBody(reasonUnmatchedTopic))
		case ch == nil:
			l.withoutChannel(s, it, topic)
		case it.kind == itemJoin && ch.state == joined:
			l.rejoin(ch, it)
		default:
			l.arrived(ch, it)
		}
	}
}

// rejoin handles phx_join on a topic that has a channel: the older one ends at once, the join is decided as any other, and the old one's phx_close follows
// its reply (Phoenix 1.8 socket.ex, shutdown_duplicate_channel/1).
func (l *loop) rejoin(ch *channel, it item) {
	s, old := ch.socket, ch.joinRef()
	l.endChannel(ch, leftRejoined)
	l.join(s, it, ch.topic.name, &old)
}

// leave answers a leave whose turn has come (Phoenix 1.8 channel/server.ex, handle_info phx_leave).
func (l *loop) leave(ch *channel, ref phx.Ref) {
	l.reply(ch.socket, ch.tag, ref, ch.topic.name, "ok", emptyObject)
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_close", emptyObject)
	l.endChannel(ch, leftLeft)
}

// closeChannel ends a channel from this side for good: the client does not rejoin.
func (l *loop) closeChannel(ch *channel, reason string) {
	l.flushTopic(ch.topic)
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_close", emptyObject)
	l.endChannel(ch, reason)
}

// crashChannel ends a channel so that the client rejoins.
func (l *loop) crashChannel(ch *channel, reason string) {
	l.flushTopic(ch.topic)
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_error", channelCrash)
	l.endChannel(ch, reason)
}

// endChannel takes the channel out and tells backends. What still waited is dropped.
func (l *loop) endChannel(ch *channel, reason string) {
	if ch.state == ended {
		return
	}
	wasJoined := ch.state == joined || ch.state == draining
	delete(l.draining, ch)
	l.removeChannel(ch)
	if wasJoined {
		l.left(ch, reason)
	}
}

// removeChannel takes the channel out of its socket and topic.
func (l *loop) removeChannel(ch *channel) {
	if ch.state != draining {
		member := ch.member >= 0
		if member {
			ch.topic.removeMember(ch)
			l.stats.channels.add(-1)
		}
		l.srv.hub.release(l, ch.topic, ch.socket.serializer, member)
		ch.socket.remove(ch)
	}
	if ch.more != nil {
		l.charge(ch, -ch.more.charged)
	}
	ch.state = ended
}

// left publishes phx.left.
func (l *loop) left(ch *channel, reason string) {
	if err := l.srv.bus.Left(l.eventOf(ch), reason); err != nil {
		l.stats.dropped.add(droppedLeft, 1)
	}
}

// endChannels ends all channels of a socket that ends. Events that came before are still handed over, for at most drainFor.
func (l *loop) endChannels(s *socket, c cause) {
	for len(s.channels) > 0 {
		ch := s.channels[len(s.channels)-1]
		if ch.state != joined || !ch.busy && !ch.queued() {
			l.endChannel(ch, c.left())
			continue
		}
		charged := ch.extra().charged
		l.removeChannel(ch)
		l.charge(ch, charged) // it still holds what waits
		ch.state = draining
		ch.extra().reason = c.left()
		l.draining[ch] = l.after(drainFor)
		l.resume(ch)
	}
}

// drainFor is how long events that came before the end of a socket are still handed over (contract, "Events from clients").
const drainFor = 10 * time.Second

// expireChannels ends the channels of a socket whose authorization is over and sets the socket's next deadline.
func (l *loop) expireChannels(s *socket) {
	s.deadline = s.expires
	for i := len(s.channels) - 1; i >= 0; i-- {
		ch := s.channels[i]
		if ch.state != joined || ch.more == nil || ch.more.expires == 0 {
			continue
		}
		if l.now >= ch.more.expires {
			l.crashChannel(ch, leftExpired)
		} else {
			l.deadlineBy(s, ch.more.expires)
		}
	}
}

// deadlineBy makes sure that the socket is looked at by then.
func (l *loop) deadlineBy(s *socket, t tick) {
	if s.deadline == 0 || t < s.deadline {
		s.deadline = t
	}
}

// ruleOf is the rule that holds for a channel's topic now; nil if a reload took it away.
func (l *loop) ruleOf(ch *channel) *rules.Rule { return l.srv.rules.Load().Match(ch.topic.name) }

// reply sends an answer to one ref.
func (l *loop) reply(s *socket, joinRef, ref phx.Ref, topic, status string, response []byte) {
	l.send(s, appendFrame(make([]byte, 0, len(topic)+len(response)+96), ws.OpText, func(dst []byte) []byte {
		return s.serializer.AppendReply(dst, joinRef, ref, topic, status, response)
	}))
}

// notice sends phx_close or phx_error for an incarnation of a channel (Phoenix 1.8 socket.ex, encode_close/3 and encode_on_exit/4).
func (l *loop) notice(s *socket, joinRef phx.Ref, topic, event string, payload []byte) {
	l.send(s, appendFrame(make([]byte, 0, len(topic)+96), ws.OpText, func(dst []byte) []byte {
		return s.serializer.AppendPush(dst, joinRef, joinRef, topic, event, payload)
	}))
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
