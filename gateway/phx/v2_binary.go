package phx

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Kinds of V2 binary frames, their first byte. Then follow the lengths of the
// fields in bytes of UTF-8, one byte each, the fields, and the payload up to
// the end of the frame (Phoenix 1.8 v2_json_serializer.ex). The two pushes
// differ: the client's has a ref.
//
//	push, from a client  00 | join_ref ref topic event
//	push, to a client    00 | join_ref topic event
//	reply                01 | join_ref ref topic status
//	broadcast            02 | topic event
const (
	kindPush      = 0
	kindReply     = 1
	kindBroadcast = 2
)

// maxFieldBytes is what a length byte can tell.
const maxFieldBytes = 255

// clientPushHeader is the length of a client's push up to its first field.
const clientPushHeader = 5

// ErrFieldTooLong means that a header field of a V2 binary frame is longer than
// 255 bytes. Text frames have no such limit.
var ErrFieldTooLong = errors.New("field too long for a binary frame")

// Why a binary frame is no message.
var (
	errNotPush   = errors.New("not a binary push")
	errCutShort  = errors.New("frame cut short")
	errFieldUTF8 = errors.New("field is not UTF-8")
)

// decodeV2Binary reads a client's push. Fields that are empty are empty
// strings, not null: a push with an empty join_ref is a stale one.
func decodeV2Binary(m *Message, frame []byte) error {
	if len(frame) == 0 || frame[0] != kindPush {
		return malformed(errNotPush, 0)
	}
	if len(frame) < clientPushHeader {
		return malformed(errCutShort, len(frame))
	}
	var fields [4][]byte
	at := clientPushHeader
	for n := range fields {
		end := at + int(frame[1+n])
		if end > len(frame) {
			return malformed(errCutShort, len(frame))
		}
		fields[n] = frame[at:end]
		if !utf8.Valid(fields[n]) {
			return malformed(errFieldUTF8, at)
		}
		at = end
	}
	m.JoinRef, m.Ref = m.quote(fields[0]), m.quote(fields[1])
	m.Topic, m.Event = fields[2], fields[3]
	m.Payload, m.Binary = frame[at:], true
	return nil
}

// AppendBinaryReply appends the binary frame that answers the push ref with
// bytes. Refs lose their type: a null one is written as length 0, a string as
// its text, a number in decimal. An error wraps [ErrFieldTooLong], and dst is
// returned as it was.
func AppendBinaryReply(dst []byte, joinRef, ref Ref, topic, status string, response []byte) ([]byte, error) {
	return appendBinary(dst, kindReply, response,
		field{"join_ref", joinRef.bare()}, field{"ref", ref.bare()}, field{"topic", topic}, field{"status", status})
}

// AppendBinaryPush appends the binary frame of a message to one client. There
// is no room for a ref in it. Errors and refs as for [AppendBinaryReply].
func AppendBinaryPush(dst []byte, joinRef Ref, topic, event string, payload []byte) ([]byte, error) {
	return appendBinary(dst, kindPush, payload,
		field{"join_ref", joinRef.bare()}, field{"topic", topic}, field{"event", event})
}

// AppendBinaryBroadcast appends the binary frame of a broadcast, the same for
// all V2 members of the topic. Errors as for [AppendBinaryReply].
func AppendBinaryBroadcast(dst []byte, topic, event string, payload []byte) ([]byte, error) {
	return appendBinary(dst, kindBroadcast, payload, field{"topic", topic}, field{"event", event})
}

// field is one field of a binary frame's header.
type field struct{ name, text string }

func appendBinary(dst []byte, kind byte, payload []byte, fields ...field) ([]byte, error) {
	for _, f := range fields {
		if len(f.text) > maxFieldBytes {
			return dst, fmt.Errorf("%s of %d bytes: %w", f.name, len(f.text), ErrFieldTooLong)
		}
	}
	dst = append(dst, kind)
	for _, f := range fields {
		dst = append(dst, byte(len(f.text)))
	}
	for _, f := range fields {
		dst = append(dst, f.text...)
	}
	return append(dst, payload...), nil
}

// bare is the ref as a binary frame carries it.
func (r Ref) bare() string {
	if text, ok := r.Text(); ok {
		return text
	}
	return string(r)
}
