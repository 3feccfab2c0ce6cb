// Package phx is the wire of Phoenix Channels as a server speaks it: the bytes
// of one frame or message in, the fields of one message out, and back. It
// knows no sockets, channels or topics that are joined; it keeps no state and
// imports the standard library only.
//
// # Parts
//
//   - [Negotiate] picks the [Serializer] of a socket from its vsn.
//   - [Serializer.Decode] (v1.go, v2.go, v2_binary.go) splits a frame from a
//     client into a [Message] whose slices point into the frame.
//   - AppendReply, AppendPush and AppendBroadcast write text frames to a
//     client, AppendBinaryReply and its siblings the V2 binary ones.
//   - json*.go is a strict RFC 8259 scanner and what the data path needs on top
//     of it: checking, looking up a member, quoting, rewriting as ASCII.
//
// # Wire forms
//
//	V1        {"topic":t,"event":e,"payload":p,"ref":r}         join_ref only inbound
//	V2 text   [join_ref, ref, topic, event, payload]
//	V2 binary kind, one length byte for each field, the fields, the payload
//
// # Promises
//
//   - Any input is safe to decode: bad bytes are an error that wraps
//     [ErrMalformed], never a panic, however deep it is nested.
//   - Payloads travel as the bytes that came: digits, key order, escapes and
//     whitespace are kept.
//   - Decoding a frame without escapes and encoding into a buffer with room
//     allocate nothing.
//
// What it does not do: encoders trust their callers that a payload or response
// is valid JSON text. Check it once for each message with [CheckPayload] or
// [CheckJSON], not once for each member it is sent to.
//
// All functions are safe for concurrent use; a Message belongs to one
// goroutine at a time.
package phx
