package phx

import (
	"errors"
	"unicode/utf8"
)

// Why a V1 object is no message: the four required keys, each of which may be
// null (Phoenix 1.8 socket/message.ex, from_map!/1).
var (
	errNoTopic   = errors.New("missing topic")
	errNoEvent   = errors.New("missing event")
	errNoPayload = errors.New("missing payload")
	errNoRef     = errors.New("missing ref")
)

// decodeV1 reads a JSON object with the keys topic, event, payload, ref and
// perhaps join_ref; others are ignored, and of equal keys the last wins.
// Phoenix does not look at the opcode, so JSON in a binary frame is fine, but
// nobody has checked its UTF-8 yet.
func decodeV1(m *Message, text bool, frame []byte) error {
	if !text && !utf8.Valid(frame) {
		return malformed(ErrNotUTF8, 0)
	}
	i := skipSpace(frame, 0)
	if i == len(frame) || frame[i] != '{' {
		return malformed(ErrNotObject, i)
	}
	var joinRef, ref, topic, event, payload []byte
	end, err := scanObject(frame, i, AnyDepth, func(key, value []byte) bool {
		switch string(m.unquote(key)) {
		case "topic":
			topic = value
		case "event":
			event = value
		case "payload":
			payload = value
		case "ref":
			ref = value
		case "join_ref":
			joinRef = value
		}
		return true
	})
	if err != nil {
		return malformed(err, end)
	}
	if end = skipSpace(frame, end); end < len(frame) {
		return malformed(ErrNotJSON, end)
	}
	switch {
	case topic == nil:
		return malformed(errNoTopic, end)
	case event == nil:
		return malformed(errNoEvent, end)
	case payload == nil:
		return malformed(errNoPayload, end)
	case ref == nil:
		return malformed(errNoRef, end)
	}
	m.set(joinRef, ref, topic, event, payload)
	return nil
}

// appendOpenV1 begins an object. A V1 frame to a client has exactly the keys
// topic, event, payload and ref, never join_ref (Phoenix 1.8
// v1_json_serializer.ex).
func appendOpenV1(dst []byte) []byte {
	return append(dst, `{"topic":`...)
}

func appendEventV1(dst []byte, event string) []byte {
	dst = append(dst, `,"event":`...)
	dst = AppendQuote(dst, event)
	return append(dst, `,"payload":`...)
}

func appendEndV1(dst []byte, ref Ref) []byte {
	dst = append(dst, `,"ref":`...)
	dst = ref.append(dst)
	return append(dst, '}')
}
