package rules

import (
	"reflect"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Deliver says, for each member of a topic, whether a broadcast reaches it, and as what: the counterpart of Phoenix's intercept and handle_out. It is a CEL expression over event, topic,
// payload (a map; bytes where the broadcast is binary) and assigns. True delivers, false withholds, a map is delivered in the payload's place; the payload itself goes as the bytes that came.
type Deliver struct {
	expression *expression
	keys       []string // of the assigns, that it looks at
	whole      bool     // it may look at all of them
}

func compileDeliver(text string) (*Deliver, error) {
	e, err := compile(text, map[string]*cel.Type{
		"event": cel.StringType, "topic": cel.StringType, "payload": cel.DynType, "assigns": cel.MapType(cel.StringType, cel.DynType),
	}, cel.BoolType, cel.MapType(cel.StringType, cel.DynType))
	if err != nil {
		return nil, err
	}
	d := &Deliver{expression: e}
	d.keys, d.whole = e.keysOf("assigns")
	return d, nil
}

// InputsOf appends what the expression draws on of a channel's assigns, a JSON object or nil: an object too. Members whose inputs are the same bytes are delivered the same.
func (d *Deliver) InputsOf(dst, assigns []byte) []byte {
	if d.whole {
		if assigns == nil {
			return append(dst, "{}"...)
		}
		return append(dst, assigns...)
	}
	dst = append(dst, '{')
	first := true
	for _, key := range d.keys {
		raw, ok := phx.Member(assigns, key)
		if !ok {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(phx.AppendQuote(dst, key), ':')
		dst = append(dst, raw...)
	}
	return append(dst, '}')
}

// Message is a broadcast that a Deliver decides about, perhaps many times.
type Message struct {
	topic, event string
	payload      any // nil where it could not be read: nothing of it is delivered
}

// NewMessage reads a broadcast: the payload is a JSON object, or with binary any bytes.
func NewMessage(topic, event string, payload []byte, binary bool) *Message {
	m := &Message{topic: topic, event: event}
	if binary {
		m.payload = payload
	} else if object, err := objectFromJSON(payload); err == nil {
		m.payload = object
	}
	return m
}

// Inputs are what an expression is given of a channel.
type Inputs struct {
	assigns map[string]any // nil where they could not be read: nothing is delivered
}

// ReadInputs reads what InputsOf made.
func ReadInputs(text []byte) *Inputs {
	assigns, err := objectFromJSON(text)
	if err != nil {
		return &Inputs{}
	}
	return &Inputs{assigns}
}

// Decide says what becomes of a message for members of the same inputs: withheld (ok false), delivered as it is (payload nil), or with another payload, a JSON object. An
// error says that the expression failed; then the message is withheld. Its text names no value.
func (d *Deliver) Decide(m *Message, in *Inputs) (payload []byte, ok bool, err error) {
	if in.assigns == nil || m.payload == nil {
		return nil, false, errInput
	}
	v, err := d.expression.eval(map[string]any{"event": m.event, "topic": m.topic, "payload": m.payload, "assigns": in.assigns})
	if err != nil {
		return nil, false, err
	}
	switch v := v.(type) {
	case types.Bool:
		return nil, bool(v), nil
	case traits.Mapper:
		if m.isPayload(v.Value()) {
			return nil, true, nil
		}
		if _, isBytes := m.payload.([]byte); isBytes {
			return nil, false, errValue
		}
		if payload, err = appendJSON(nil, v, 1); err != nil {
			return nil, false, err
		}
		return payload, true, nil
	}
	return nil, false, errValue
}

// isPayload reports whether a value is the payload that the expression was given, and not only equal to it.
func (m *Message) isPayload(v any) bool {
	given, ok := m.payload.(map[string]any)
	got, isMap := v.(map[string]any)
	return ok && isMap && reflect.ValueOf(given).UnsafePointer() == reflect.ValueOf(got).UnsafePointer()
}
