package gateway

import (
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
	busy     bool // a call or a presence update waits for its answer: events behind it wait
	leaving  bool // a leave waits for its turn
	excluded bool // during one fan-out: some broadcast must not go here
	gapped   bool // it will be told of a gap, at its time
	present  bool // it takes part in its topic's presence, or may: Presence is told when it ends
	nullRef  bool // the join had no join_ref
	authz    authzFlags
	// tag is what pushes and replies carry as join_ref: the join's join_ref, or its ref if that was null (Phoenix 1.8 channel/server.ex, join/4).
	tag     phx.Ref
	assigns []byte // JSON object in ASCII, the socket's merged in; nil for none
	more    *channelMore
}

// channelMore is what few channels have.
type channelMore struct {
	waiting   items  // events, leaves and joins that wait for their turn, in order
	charged   int    // bytes counted in socket.waiting and Server.waitingBytes: of waiting, and of the join while it is under way
	params    []byte // join params, while joining and where a rule needs them later
	ref       phx.Ref
	reason    string   // for phx.left, while draining
	replaces  *phx.Ref // join_ref of the channel that this join replaces; its phx_close follows the join reply
	waiter    *waiter  // while the join waits for its turn
	allowed   bool     // by the rule, while joining: nobody else is asked
	decision  *JoinDecision
	confirmed bool
	recheck   bool                // while joining: phx.authz.recheck came for its socket, or may have been missed
	rechecks  uint32              // topic.rechecks when the authorizer was asked about the join
	events    map[string]struct{} // events that the client may send; nil: all
	assigned  []byte              // what of the assigns is of backends' replies, where the channel may be authorized anew; nil for nothing
	limiter   *limiter            // of its events; nil until the first, and where the rule has no limit
	expires   tick                // 0: never
	class     *class
	classed   []byte // the assigns that class is of
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
	if m != nil && m.waiting.n == 0 && m.params == nil && m.events == nil && m.assigned == nil && m.limiter == nil && m.expires == 0 && m.class == nil {
		ch.more = nil
	}
}

// leave answers a leave whose turn has come (Phoenix 1.8 channel/server.ex, handle_info phx_leave).
func (l *loop) leave(ch *channel, ref phx.Ref) {
	l.reply(ch.socket, ch.tag, ref, ch.topic.name, "ok", emptyObject)
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_close", emptyObject)
	l.endChannel(ch, leftLeft)
}

// closeChannel ends a channel from this side for good: the client does not rejoin.
func (l *loop) closeChannel(ch *channel, reason string) {
	l.flushFor(ch)
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_close", emptyObject)
	l.endChannel(ch, reason)
}

// crashChannel ends a channel so that the client rejoins.
func (l *loop) crashChannel(ch *channel, reason string) {
	if reason != leftGap { // else what waits is part of what it misses
		l.flushFor(ch)
	}
	l.notice(ch.socket, ch.joinRef(), ch.topic.name, "phx_error", channelCrash)
	l.endChannel(ch, reason)
}

// endChannel takes the channel out and tells backends. What still waited is dropped.
func (l *loop) endChannel(ch *channel, reason string) {
	if ch.state == ended {
		return
	}
	wasJoined := ch.state == joined || ch.state == draining
	l.leavePresence(ch, reason)
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
		l.srv.hub.release(l, ch.topic, ch.socket.form(), member)
		ch.socket.remove(ch)
	}
	if m := ch.more; m != nil {
		if m.waiter != nil {
			l.srv.joins.abandon(m.waiter)
			m.waiter = nil
		}
		l.charge(ch, -m.charged)
		if m.class != nil {
			l.srv.hub.declassify(m.class)
			m.class, m.classed = nil, nil
		}
	}
	l.params.forget(ch)
	ch.state = ended
}

// left publishes phx.left.
func (l *loop) left(ch *channel, reason string) {
	e := l.eventOf(ch)
	e.Trace = l.trace(ch.socket)
	if err := l.srv.bus.Left(e, reason); err != nil {
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
		l.leavePresence(ch, c.left())
		l.removeChannel(ch)
		l.charge(ch, charged) // it still holds what waits
		ch.state = draining
		ch.extra().reason = c.left()
		l.draining[ch] = l.after(drainFor)
		l.resume(ch)
	}
	l.endLingers(s, c)
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
