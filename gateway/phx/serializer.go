package phx

import (
	"errors"
	"fmt"
)

// Serializer is the wire form a socket speaks, chosen by the vsn it connected
// with and fixed for its life.
type Serializer uint8

// The serializers of Phoenix 1.8 (socket/serializers/). They index arrays of
// length [NumSerializers].
const (
	V1 Serializer = iota // vsn 1.0.x: JSON objects
	V2                   // vsn 2.0.x: JSON arrays, and binary frames
)

// NumSerializers is the number of serializers.
const NumSerializers = 2

// ErrMalformed is wrapped by every error of Decode. The socket must be closed
// with code 1011, without a frame before it.
var ErrMalformed = errors.New("malformed message")

// String returns "v1" or "v2", for logs and metrics.
func (s Serializer) String() string {
	if s == V1 {
		return "v1"
	}
	return "v2"
}

// CarriesBinary says whether a binary payload can be sent to sockets of this
// serializer: with V1 it cannot (Phoenix 1.8 v1_json_serializer.ex raises).
func (s Serializer) CarriesBinary() bool {
	return s != V1
}

// Decode reads one frame of a client into m, whatever m held before. text says
// that the frame is a WebSocket text frame (or a line of JSON in a long-poll
// body); the caller has checked that it is UTF-8, else strings in m are not.
// V1 expects JSON under either opcode, V2 binary frames hold a binary push;
// their UTF-8 is checked here.
//
// The frame must be one JSON value from end to end, however deep. Any error wraps [ErrMalformed] and leaves m
// unspecified.
func (s Serializer) Decode(m *Message, text bool, frame []byte) error {
	m.reset()
	switch {
	case s == V1:
		return decodeV1(m, text, frame)
	case text:
		return decodeV2(m, frame)
	default:
		return decodeV2Binary(m, frame)
	}
}

// AppendReply appends the text frame that answers the push ref: event
// phx_reply with payload {"status":status,"response":response}. response is
// valid JSON text of any kind, `{}` where there is nothing to say.
func (s Serializer) AppendReply(dst []byte, joinRef, ref Ref, topic string, status string, response []byte) []byte {
	dst = s.appendOpen(dst, joinRef, ref)
	dst = AppendQuote(dst, topic)
	return s.appendReplyRest(dst, ref, status, response)
}

// AppendOddTopicReply is [Serializer.AppendReply] for a message whose topic was
// no string: the topic is echoed as it came ([Message.OddTopic]), and join_ref
// is null, since nothing can be joined to it.
func AppendOddTopicReply(s Serializer, dst []byte, ref Ref, oddTopic []byte, status string, response []byte) []byte {
	dst = s.appendOpen(dst, "", ref)
	dst = append(dst, oddTopic...)
	return s.appendReplyRest(dst, ref, status, response)
}

// AppendPush appends the text frame of a message to one client; payload is
// valid JSON text, for V2 an object. ref is null but for the notices phx_close
// and phx_error, where it equals joinRef (Phoenix 1.8 socket.ex, encode_close/3).
func (s Serializer) AppendPush(dst []byte, joinRef Ref, ref Ref, topic, event string, payload []byte) []byte {
	dst = s.appendOpen(dst, joinRef, ref)
	dst = AppendQuote(dst, topic)
	dst = s.appendEvent(dst, event)
	dst = append(dst, payload...)
	return s.appendEnd(dst, ref)
}

// AppendBroadcast appends the text frame of a broadcast, the same for all
// members of the topic with this serializer: no refs. payload is a valid JSON
// object and goes out as it came.
func (s Serializer) AppendBroadcast(dst []byte, topic, event string, payload []byte) []byte {
	return s.AppendPush(dst, "", "", topic, event, payload)
}

// appendReplyRest writes what follows a reply's topic.
func (s Serializer) appendReplyRest(dst []byte, ref Ref, status string, response []byte) []byte {
	dst = s.appendEvent(dst, EventReply)
	dst = append(dst, `{"status":`...)
	dst = AppendQuote(dst, status)
	dst = append(dst, `,"response":`...)
	dst = append(dst, response...)
	dst = append(dst, '}')
	return s.appendEnd(dst, ref)
}

// appendOpen writes a text frame up to its topic.
func (s Serializer) appendOpen(dst []byte, joinRef, ref Ref) []byte {
	if s == V1 {
		return appendOpenV1(dst)
	}
	return appendOpenV2(dst, joinRef, ref)
}

// appendEvent writes the event, from after the topic up to the payload.
func (s Serializer) appendEvent(dst []byte, event string) []byte {
	if s == V1 {
		return appendEventV1(dst, event)
	}
	return appendEventV2(dst, event)
}

// appendEnd writes what follows the payload.
func (s Serializer) appendEnd(dst []byte, ref Ref) []byte {
	if s == V1 {
		return appendEndV1(dst, ref)
	}
	return append(dst, ']')
}

// malformed says why a frame cannot be decoded, and where it ceased to make
// sense. It never quotes the frame, which may be long and is not ours.
func malformed(cause error, at int) error {
	return fmt.Errorf("%w: %w at byte %d", ErrMalformed, cause, at)
}
