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
		if it := ch.more.waiting.lastJoin(); it != nil {
			cur = it.joinRef
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
		l.endLinger(s, topic)
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
