package main

import "bytes"

// heartbeatRef is the ref of every heartbeat; joinRef is join_ref and ref of every join.
const (
	heartbeatRef = "h"
	joinRef      = "1"
)

// message is a V2 text message, [join_ref, ref, topic, event, payload], its first four elements as raw JSON
// (Phoenix 1.8 serializers/v2_json_serializer.ex).
type message struct {
	joinRef, ref, topic, event []byte
	payload                    []byte // all behind the event, the closing bracket included; perhaps cut off
	fromTopic                  []byte // topic, event and payload as one piece, the closing bracket included
}

// parseMessage splits text without decoding it. It looks no further than the event, so a long payload costs nothing.
func parseMessage(text []byte) (m message, ok bool) {
	rest := trimSpace(text)
	if len(rest) == 0 || rest[0] != '[' {
		return m, false
	}
	rest = rest[1:]
	for _, element := range []*[]byte{&m.joinRef, &m.ref, &m.topic, &m.event} {
		if element == &m.topic {
			m.fromTopic = trimSpace(rest)
		}
		if *element, rest, ok = nextValue(rest); !ok {
			return m, false
		}
		if rest = trimSpace(rest); len(rest) == 0 || rest[0] != ',' {
			return m, false
		}
		rest = rest[1:]
	}
	m.payload = trimSpace(rest)
	return m, true
}

// isReply says whether m answers the push with this ref.
func (m *message) isReply(ref string) bool {
	return string(m.event) == `"phx_reply"` && string(m.ref) == `"`+ref+`"`
}

// field returns the raw value of a key of a JSON object, nil if it is not there or lies beyond a cut. A key that is
// written with escapes is not found.
func field(object []byte, key string) []byte {
	rest := trimSpace(object)
	if len(rest) == 0 || rest[0] != '{' {
		return nil
	}
	for {
		name, after, ok := nextValue(rest[1:])
		after = trimSpace(after)
		if !ok || len(after) == 0 || after[0] != ':' {
			return nil
		}
		value, after, ok := nextValue(after[1:])
		if !ok {
			return nil
		}
		if len(name) == len(key)+2 && string(name[1:len(name)-1]) == key {
			return value
		}
		if rest = trimSpace(after); len(rest) == 0 || rest[0] != ',' {
			return nil
		}
	}
}

// nextValue takes one JSON value off data, as far as brackets and strings tell: it does not validate.
func nextValue(data []byte) (value, rest []byte, ok bool) {
	data = trimSpace(data)
	depth := 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '"':
			n := stringEnd(data[i:])
			if n == 0 {
				return nil, nil, false
			}
			if i += n - 1; depth == 0 {
				return data[:i+1], data[i+1:], true
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return data[:i], data[i:], i > 0
			}
			if depth--; depth == 0 {
				return data[:i+1], data[i+1:], true
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return data[:i], data[i:], i > 0
			}
		}
	}
	return nil, nil, false
}

// stringEnd is the length of the JSON string at the start of s, quotes included, 0 if it does not end.
func stringEnd(s []byte) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func trimSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }
