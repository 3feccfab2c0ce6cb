package phxtest

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Message is what a frame says: the five fields of the Phoenix protocol. Refs
// are nil, a string, or whatever JSON value came.
type Message struct {
	JoinRef, Ref any
	Topic, Event string
	// Status is that of a reply, empty for other messages.
	Status string
	// Payload is a reply's response, else the payload; JSON text, or bytes
	// where Binary is set.
	Payload []byte
	Binary  bool
}

// ParseMessage reads a frame that the server sent: V1 object, V2 array or V2
// binary (Phoenix 1.8 v1_json_serializer.ex, v2_json_serializer.ex).
func ParseMessage(f Frame) (Message, error) {
	if f.Binary {
		return parseBinary(f.Data)
	}
	var m Message
	var payload json.RawMessage
	fields := [5]any{&m.JoinRef, &m.Ref, &m.Topic, &m.Event, &payload}
	v, err := decodeJSON(f.Data)
	if err != nil {
		return m, err
	}
	if _, ok := v.(map[string]any); ok {
		var o struct {
			Ref     any
			Topic   string
			Event   string
			Payload json.RawMessage
		}
		err = json.Unmarshal(f.Data, &o)
		m.Ref, m.Topic, m.Event, payload = o.Ref, o.Topic, o.Event, o.Payload
	} else if a, ok := v.([]any); ok && len(a) == len(fields) {
		err = json.Unmarshal(f.Data, &fields)
	} else {
		err = errors.New("neither a V1 nor a V2 message")
	}
	if err != nil {
		return m, fmt.Errorf("message %v: %w", f, err)
	}
	if payload == nil {
		payload = json.RawMessage("null")
	}
	m.Payload = payload
	if m.Event == "phx_reply" {
		var reply struct {
			Status   string
			Response json.RawMessage
		}
		if err := json.Unmarshal(payload, &reply); err != nil {
			return m, fmt.Errorf("reply %v: %w", f, err)
		}
		m.Status, m.Payload = reply.Status, reply.Response
	}
	return m, nil
}

// parseBinary reads kind 0 (push), 1 (reply) or 2 (broadcast): a byte of
// length for each field, then the fields, then the payload.
func parseBinary(data []byte) (Message, error) {
	m := Message{Binary: true}
	if len(data) == 0 || data[0] > 2 {
		return m, fmt.Errorf("binary message %x: unknown kind", data)
	}
	kind := data[0]
	n := [...]int{3, 4, 2}[kind]
	if len(data) < 1+n {
		return m, fmt.Errorf("binary message %x: cut short", data)
	}
	fields, rest := make([]string, n), data[1+n:]
	for i, length := range data[1 : 1+n] {
		if int(length) > len(rest) {
			return m, fmt.Errorf("binary message %x: cut short", data)
		}
		fields[i], rest = string(rest[:length]), rest[length:]
	}
	m.Payload = rest
	switch kind {
	case 0:
		m.JoinRef, m.Topic, m.Event = fields[0], fields[1], fields[2]
	case 1:
		m.JoinRef, m.Ref, m.Topic = fields[0], fields[1], fields[2]
		m.Event, m.Status = "phx_reply", fields[3]
	case 2:
		m.Topic, m.Event = fields[0], fields[1]
	}
	return m, nil
}
