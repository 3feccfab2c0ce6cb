package gateway

import (
	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// maxEvent is the longest event name in bytes (contract, "Topics and subjects").
const maxEvent = 255

// eventArrived takes a client's event: the limits hold at arrival, everything else when its turn has come. m is valid for this call only, and so an
// event that need not wait is not copied.
func (l *loop) eventArrived(ch *channel, m *phx.Message) {
	refuse := func(reason string) {
		l.stats.events.add(eventRefused, 1)
		if ch.state == joining { // the join reply comes first
			l.queue(ch, item{kind: itemRefusal, ref: phx.Ref(m.Ref), event: reason})
			return
		}
		l.reply(ch.socket, ch.tag, phx.Ref(m.Ref), ch.topic.name, "error", reasonBody(reason))
	}
	if len(m.Event) > maxEvent || m.OddEvent {
		refuse(reasonInvalidEvent)
		return
	}
	rule := l.ruleOf(ch)
	if rule != nil && rule.Limits.PayloadBytes > 0 && len(m.Payload) > rule.Limits.PayloadBytes {
		refuse(reasonPayloadTooLarge)
		return
	}
	if !l.allowEvent(ch, rule) {
		refuse(reasonRateLimited)
		return
	}
	wait := ch.state == joining || ch.busy || ch.queued()
	it := itemOf(m, wait)
	if wait {
		l.queue(ch, it)
		return
	}
	l.handEvent(ch, &it)
}

// handEvent does with an event what the channel's rule says. Where something is wrong the client is told, always.
func (l *loop) handEvent(ch *channel, it *item) {
	refuse := func(reason string) {
		l.stats.events.add(eventRefused, 1)
		if ch.state == joined {
			l.reply(ch.socket, ch.tag, it.ref, ch.topic.name, "error", reasonBody(reason))
		}
	}
	rule := l.ruleOf(ch)
	var er *rules.EventRule
	if rule != nil {
		er = rule.Event(it.event)
	}
	if er == nil || er.Do == rules.Reject {
		refuse(reasonUnmatchedEvent)
		return
	}
	if ch.more != nil && ch.more.events != nil {
		if _, ok := ch.more.events[it.event]; !ok {
			refuse(reasonUnauthorized)
			return
		}
	}
	if er.Do == rules.PresenceUpdate {
		switch {
		case it.binary || !phx.IsObject(it.payload):
			refuse(reasonInvalidPayload)
		case !l.srv.bus.Available():
			refuse(reasonUnavailable)
		case l.srv.cfg.Presence == nil || ch.state != joined:
			refuse(reasonNotTracked)
		default:
			l.updatePresence(ch, it, er)
		}
		return
	}
	if er.Do == rules.Reauthorize {
		if reason := l.reauthorize(ch, it, rule, er); reason != "" {
			refuse(reason)
		}
		return
	}
	e := l.eventOf(ch)
	e.Name, e.Payload, e.Binary = it.event, it.payload, it.binary
	var err error
	switch er.Do {
	case rules.Broadcast, rules.BroadcastFrom:
		switch {
		case rules.Reserved(it.event):
			refuse(reasonUnmatchedEvent)
			return
		case it.event == "": // no broadcast is without a name
			refuse(reasonInvalidEvent)
			return
		}
		// Bytes cannot be told who speaks.
		if it.binary && len(er.Set) > 0 || !it.binary && !fitForMany(it.payload) {
			refuse(reasonInvalidPayload)
			return
		}
		if len(er.Set) > 0 {
			env := rules.Env{Assigns: ch.assigns, SocketID: ch.socket.id}
			if ch.more != nil {
				env.Params = ch.more.params
			}
			l.payload = rules.AppendPayload(l.payload[:0], it.payload, er.Set, env)
			if !fitForMany(l.payload) { // what was set may go deeper
				refuse(reasonInvalidPayload)
				return
			}
			e.Payload = l.payload
		}
		if er.Do == rules.BroadcastFrom {
			e.From = e.Channel
		}
		err = l.srv.bus.Broadcast(e)
	case rules.Cast:
		l.setRefs(e, ch, it.ref)
		e.Trace = l.trace(ch.socket)
		err = l.srv.bus.Cast(e)
	case rules.Call:
		l.setRefs(e, ch, it.ref)
		e.Trace = l.trace(ch.socket)
		ref, event, concurrent := it.ref, it.event, er.Concurrent
		err = l.srv.bus.Call(e, er.Timeout, func(a *Answer, err error) {
			l.mailbox.post(mailFunc(func(l *loop) { l.called(ch, ref, event, a, err, concurrent) }))
		})
		if err == nil && !concurrent {
			ch.busy = true
		}
	}
	if err != nil {
		refuse(reasonOf(err))
		return
	}
	l.stats.events.add(int(er.Do), 1)
	if er.Reply && ch.state == joined {
		l.reply(ch.socket, ch.tag, it.ref, ch.topic.name, "ok", emptyObject)
	}
}

// fitForMany reports whether a payload, valid JSON, may be broadcast: an object of at most phx.MaxDepth levels. A payload too short to be deeper is not read again.
func fitForMany(payload []byte) bool {
	return phx.IsObject(payload) && (len(payload) < 2*phx.MaxDepth || phx.CheckPayload(payload) == nil)
}

// eventOf fills the loop's Event with what is known of a channel. It is valid until the next call.
func (l *loop) eventOf(ch *channel) *Event {
	l.event = Event{Topic: ch.topic.name, Channel: ch.id(), SocketID: ch.socket.id, Assigns: ch.assigns}
	return &l.event
}

// setRefs puts the client's refs in, where a header can hold them.
func (l *loop) setRefs(e *Event, ch *channel, ref phx.Ref) {
	e.Ref, e.JoinRef = headerRef(ref), headerRef(ch.tag)
}

// headerRef is a ref that is a string of 1-64 printable ASCII characters without a space; "" for others (contract, "Headers").
func headerRef(r phx.Ref) string {
	text, ok := r.Text()
	if !ok || len(text) > 64 {
		return ""
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return ""
		}
	}
	return text
}

// called takes a backend's answer to a call; an error means that there is none.
func (l *loop) called(ch *channel, ref phx.Ref, event string, a *Answer, err error, concurrent bool) {
	if ch.state == ended {
		return // an answer that finds its channel gone is dropped whole
	}
	if !concurrent {
		ch.busy = false
	}
	if err != nil {
		if ch.state == joined {
			l.flushFor(ch)
			l.reply(ch.socket, ch.tag, ref, ch.topic.name, "error", reasonBody(reasonOf(err)))
		}
	} else {
		l.answer(ch, ref, a, Dropped{Topic: ch.topic.name, Event: event})
	}
	if ch.state != ended && !ch.busy {
		l.resume(ch)
	}
}

// answer does what a backend's answer says, to a call or late. about says which it is, should it come to nothing.
func (l *loop) answer(ch *channel, ref phx.Ref, a *Answer, about Dropped) {
	l.flushFor(ch) // what the backend broadcast before comes before
	if a.Assigns != nil && !a.Bad {
		merged, err := MergeAssigns(ch.assigns, a.Assigns)
		if err == nil && ch.authz&authzDecided != 0 {
			m := ch.extra()
			m.assigned, err = MergeAssigns(m.assigned, a.Assigns)
		}
		if err != nil {
			l.outgrown(ch, err, about)
			a = &Answer{Action: ActionCrash}
		} else {
			ch.assigns = merged
		}
	}
	if ch.state == draining {
		if a.Action == ActionClose || a.Action == ActionCrash {
			ch.more.waiting = items{}
		}
		return
	}
	if a.Action == ActionCrash {
		l.crashChannel(ch, leftCrashed)
		return
	}
	l.answerClient(ch, ref, a, about)
	if a.Action == ActionClose && ch.state == joined {
		l.closeChannel(ch, leftClosed)
	}
}

// answerClient sends the reply that an answer makes.
func (l *loop) answerClient(ch *channel, ref phx.Ref, a *Answer, about Dropped) {
	s, topic := ch.socket, ch.topic.name
	fail := func(body []byte) { l.reply(s, ch.tag, ref, topic, "error", body) }
	bad := func(told string) {
		about.Reason = told
		l.srv.dropped(droppedBadReply, about)
		fail(reasonBody(reasonBadReply))
	}
	status := a.Status
	if status == "" {
		status = "ok"
	}
	switch {
	case a.Error != "":
		fail(append(phx.AppendQuote([]byte(`{"reason":`), a.Error), '}'))
	case a.Bad: // the bus has counted and told it
		fail(reasonBody(reasonBadReply))
	case status == StatusNone:
	case !a.Binary:
		l.reply(s, ch.tag, ref, topic, status, a.Payload)
	case s.serializer == phx.V1:
		bad(toldBinaryV1)
	default:
		var err error
		f := appendFrame(make([]byte, 0, len(topic)+len(a.Payload)+64), ws.OpBinary, func(dst []byte) []byte {
			var out []byte
			out, err = phx.AppendBinaryReply(dst, ch.tag, ref, topic, status, a.Payload)
			return out
		})
		if err != nil {
			bad(toldBinaryField)
			return
		}
		l.send(s, f)
	}
}

// textFrame makes a text frame of what encode appends.
func textFrame(encode func([]byte) []byte) []byte {
	return appendFrame(make([]byte, 0, 128), ws.OpText, encode)
}
