package phx

import "bytes"

// maxKeptBuffer bounds, in bytes, the buffer a Message keeps from one Decode to
// the next, so that one huge escaped topic does not stay in memory for good.
const maxKeptBuffer = 4096

// Message is a decoded frame from a client: a push, in Phoenix's words
// (Phoenix 1.8 socket/message.ex).
//
// Its slices point into the frame, or, where something had to be unescaped or
// quoted, into a buffer of the Message. They are valid only as long as the
// frame's bytes and until the next Decode into the same Message, also in copies
// of it. Keep what must live longer as a Ref or string.
type Message struct {
	// JoinRef and Ref are canonical JSON text as described at [Ref]; nil is
	// null. Refs of a binary frame are always strings: an empty one is `""`,
	// which is not null.
	JoinRef, Ref []byte

	// Topic and Event are decoded UTF-8: non-nil, if perhaps empty, unless
	// they were not strings.
	Topic, Event []byte

	// OddTopic is the JSON text of a topic that was not a string, null
	// included; Topic is nil then. Such a message is well formed: it matches
	// no channel, and its topic is echoed ([AppendOddTopicReply]).
	OddTopic []byte
	// OddEvent says that the event was not a string; Event is nil then.
	OddEvent bool

	// Payload is the JSON text of the payload as it came, any JSON value, or,
	// if Binary, its bytes.
	Payload []byte
	// Binary says that the message came as a V2 binary frame.
	Binary bool

	// buf holds decoded strings that differ from the frame's bytes. Earlier
	// slices into it stay good when it grows: append never writes below its
	// length.
	buf []byte
}

// reset empties m but for its buffer.
func (m *Message) reset() {
	buf := m.buf[:0]
	if cap(buf) > maxKeptBuffer {
		buf = nil
	}
	*m = Message{buf: buf}
}

// set fills m from the JSON text of its fields, all of them valid; joinRef may
// be nil.
func (m *Message) set(joinRef, ref, topic, event, payload []byte) {
	m.JoinRef, m.Ref, m.Payload = m.ref(joinRef), m.ref(ref), payload
	if topic[0] == '"' {
		m.Topic = m.unquote(topic)
	} else {
		m.OddTopic = topic
	}
	if event[0] == '"' {
		m.Event = m.unquote(event)
	} else {
		m.OddEvent = true
	}
}

// ref returns the canonical form of a ref's JSON text, nil for null.
func (m *Message) ref(raw []byte) []byte {
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return nil
	case raw[0] != '"' || bytes.IndexByte(raw, '\\') < 0:
		return raw
	}
	return m.quote(m.unquote(raw))
}

// unquote decodes a valid JSON string literal.
func (m *Message) unquote(literal []byte) []byte {
	body := literal[1 : len(literal)-1]
	if bytes.IndexByte(body, '\\') < 0 {
		return body
	}
	start := len(m.buf)
	m.buf = appendUnescaped(m.buf, body)
	return m.buf[start:]
}

// quote returns text as a JSON string with minimal escapes.
func (m *Message) quote(text []byte) []byte {
	start := len(m.buf)
	m.buf = appendQuote(m.buf, text, false)
	return m.buf[start:]
}
