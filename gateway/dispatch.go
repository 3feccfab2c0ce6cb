package gateway

import (
	"bytes"

	"github.com/phxgate/phxgate/gateway/phx"
)

// maxRef bounds a ref or join_ref in bytes of JSON: a channel keeps its join_ref, and a client may have many. Phoenix's clients send some ten.
const maxRef = 1024

var emptyParams = []byte("{}")

// dispatch decides what a client's message is: heartbeat, join, leave or event (Phoenix 1.8 socket.ex, __in__/2 and handle_in/4). m is
// valid for this call only.
func (l *loop) dispatch(s *socket, m *phx.Message) {
	if len(m.Ref) > maxRef || len(m.JoinRef) > maxRef {
		l.closeSocket(s, causeMalformed)
		return
	}
	if m.OddTopic != nil {
		l.oddTopic(s, m)
		return
	}
	if string(m.Topic) == "phoenix" && string(m.Event) == "heartbeat" {
		l.reply(s, "", phx.Ref(m.Ref), "phoenix", "ok", emptyObject)
		return
	}
	var ch *channel
	for _, c := range s.channels {
		if c.topic.name == string(m.Topic) {
			ch = c
			break
		}
	}
	if ch == nil {
		l.withoutChannel(s, itemOf(m, true), string(m.Topic))
		return
	}
	switch string(m.Event) {
	case "phx_join":
		if ch.state == joining {
			l.queue(ch, itemOf(m, true)) // one request in flight per socket and topic
		} else {
			l.rejoin(ch, itemOf(m, true))
		}
	case "phx_leave":
		if l.current(ch, m) && !ch.leaving {
			l.arrived(ch, itemOf(m, true))
		}
	default:
		if !l.current(ch, m) || ch.leaving {
			l.stats.dropped.add(droppedStale, 1)
			return
		}
		l.eventArrived(ch, m)
	}
}

// current reports whether a message's join_ref is the channel's: null counts, the comparison is exact (Phoenix 1.8.12 socket.ex). Behind a join that waits for its turn,
// that join's is the current one.
func (l *loop) current(ch *channel, m *phx.Message) bool {
	if m.JoinRef == nil {
		return true
	}
	cur := ch.joinRef()
	if ch.more != nil {
		for i := len(ch.more.waiting) - 1; i >= 0; i-- {
			if it := &ch.more.waiting[i]; it.kind == itemJoin {
				cur = it.joinRef
				break
			}
		}
	}
	return string(cur) == string(m.JoinRef)
}

// itemOf copies a message.
func itemOf(m *phx.Message, copyPayload bool) item {
	it := item{ref: phx.Ref(m.Ref), joinRef: phx.Ref(m.JoinRef), event: string(m.Event), payload: m.Payload, binary: m.Binary}
	if m.OddEvent {
		it.event = ""
	}
	switch it.event {
	case "phx_join":
		it.kind = itemJoin
		if it.binary {
			it.payload, it.binary = emptyParams, false // bytes are no params
		}
	case "phx_leave":
		it.kind = itemLeave
		it.payload = nil
	}
	if copyPayload {
		if string(it.payload) == "{}" {
			it.payload = emptyParams
		} else {
			it.payload = bytes.Clone(it.payload)
		}
	}
	return it
}

// withoutChannel handles a message on a topic that is not joined.
func (l *loop) withoutChannel(s *socket, it item, topic string) {
	switch it.kind {
	case itemJoin:
		l.join(s, it, topic, nil)
	case itemLeave:
		l.reply(s, it.joinRef, it.ref, topic, "ok", emptyObject)
	default:
		l.reply(s, "", it.ref, topic, "error", reasonBody(reasonUnmatchedTopic))
	}
}

// oddTopic handles a topic that is no string: it matches nothing and is echoed.
func (l *loop) oddTopic(s *socket, m *phx.Message) {
	status, body := "error", reasonBody(reasonUnmatchedTopic)
	if string(m.Event) == "phx_leave" {
		status, body = "ok", emptyObject
	}
	l.send(s, textFrame(func(dst []byte) []byte {
		return phx.AppendOddTopicReply(s.serializer, dst, phx.Ref(m.Ref), m.OddTopic, status, body)
	}))
}

// queue puts an item behind what waits, or tells the client that too much does.
func (l *loop) queue(ch *channel, it item) {
	if l.enqueue(ch, it) {
		// What comes behind a join that waits belongs to the channel that it will begin.
		ch.leaving = it.kind == itemLeave || ch.leaving && it.kind != itemJoin
		return
	}
	l.stats.dropped.add(droppedOverloaded, 1)
	joinRef := ch.tag
	if it.kind == itemJoin {
		joinRef = it.joinRef
	}
	l.reply(ch.socket, joinRef, it.ref, ch.topic.name, "error", reasonBody(reasonOverloaded))
}

// arrived handles an item of a channel now, or when its turn comes.
func (l *loop) arrived(ch *channel, it item) {
	if ch.state == joining || ch.busy || ch.queued() {
		l.queue(ch, it)
		return
	}
	l.perform(ch, &it)
}

// perform handles an item whose turn has come.
func (l *loop) perform(ch *channel, it *item) {
	switch it.kind {
	case itemJoin:
		l.rejoin(ch, *it)
	case itemLeave:
		l.leave(ch, it.ref)
	case itemRefusal:
		l.reply(ch.socket, ch.tag, it.ref, ch.topic.name, "error", reasonBody(it.event))
	default:
		l.handEvent(ch, it)
	}
}

// resume handles what waits, until something must be waited for again.
func (l *loop) resume(ch *channel) {
	// A join that waits ends the channel at once; what came before it is dropped, as in Phoenix.
	if ch.state == joined && ch.queued() {
		for i, it := range ch.more.waiting {
			if it.kind == itemJoin {
				rest := ch.more.waiting[i+1:]
				l.rejoin(ch, it)
				l.again(ch.socket, ch.topic.name, rest)
				return
			}
		}
	}
	if ch.state == draining {
		l.resumeDraining(ch)
		return
	}
	for ch.state == joined && !ch.busy {
		it, ok := l.dequeue(ch)
		if !ok {
			ch.trim()
			return
		}
		l.perform(ch, &it)
	}
}

// resumeDraining hands over the events that came before the end of the socket; nobody is answered any more.
func (l *loop) resumeDraining(ch *channel) {
	for !ch.busy {
		it, ok := l.dequeue(ch)
		switch {
		case !ok || it.kind == itemJoin: // what is behind a join belongs to a channel that never was
			l.endChannel(ch, ch.more.reason)
			return
		case it.kind == itemLeave:
			l.endChannel(ch, leftLeft)
			return
		case it.kind == itemEvent:
			l.handEvent(ch, &it)
		}
	}
}
