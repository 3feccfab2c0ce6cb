package nats

import (
	"unicode/utf8"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/phx"
)

// readAnswer reads a backend's answer to a call, or its late reply. It is checked here, before any loop has it.
func readAnswer(m *natsgo.Msg) *gateway.Answer {
	a := &gateway.Answer{Payload: m.Data}
	bad := &gateway.Answer{Bad: true}
	if text := m.Header.Get("Nats-Service-Error"); text != "" { // NATS ADR-32
		a.Error = text
		return a
	}
	if a.Status = m.Header.Get("Phx-Status"); !utf8.ValidString(a.Status) {
		return bad
	}
	var ok bool
	if a.Action, ok = action(m); !ok || a.Action == gateway.ActionDisconnect || a.Action == gateway.ActionLeave {
		return bad
	}
	if v := m.Header.Get("Phx-Assigns"); v != "" {
		a.Assigns = []byte(v)
		if phx.CheckPayload(a.Assigns) != nil {
			return bad
		}
	}
	switch m.Header.Get("Phx-Encoding") {
	case "binary":
		a.Binary = true
		return a
	case "", "json":
	default:
		return bad
	}
	if len(m.Data) == 0 {
		a.Payload = []byte("{}")
		return a
	}
	if a.Action == gateway.ActionCrash || a.Status == gateway.StatusNone {
		return a // nobody reads the body
	}
	if phx.CheckJSONDepth(m.Data, phx.AnyDepth) != nil {
		return bad
	}
	return a
}
