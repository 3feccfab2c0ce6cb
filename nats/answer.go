package nats

import (
	"unicode/utf8"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/phx"
)

// readAnswer reads a backend's answer to a call, or its late reply, and says what is wrong with it. It is checked here, before any loop has it.
func readAnswer(m *natsgo.Msg) (*gateway.Answer, dropReason) {
	a := &gateway.Answer{Payload: m.Data}
	if text := m.Header.Get("Nats-Service-Error"); text != "" { // NATS ADR-32
		a.Error = text
		return a, dropNone
	}
	if a.Status = m.Header.Get("Phx-Status"); !utf8.ValidString(a.Status) {
		return nil, dropStatus
	}
	var ok bool
	if a.Action, ok = action(m); !ok || a.Action == gateway.ActionDisconnect || a.Action == gateway.ActionLeave {
		return nil, dropAction
	}
	if v := m.Header.Get("Phx-Assigns"); v != "" {
		a.Assigns = []byte(v)
		if phx.CheckPayload(a.Assigns) != nil {
			return nil, dropAssigns
		}
	}
	switch m.Header.Get("Phx-Encoding") {
	case "binary":
		a.Binary = true
		return a, dropNone
	case "", "json":
	default:
		return nil, dropEncoding
	}
	if len(m.Data) == 0 {
		a.Payload = []byte("{}")
		return a, dropNone
	}
	if a.Action == gateway.ActionCrash || a.Status == gateway.StatusNone {
		return a, dropNone // nobody reads the body
	}
	return a, reasonOf(phx.CheckJSONDepth(m.Data, phx.AnyDepth))
}
