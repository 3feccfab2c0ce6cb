package backendtest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/internal/wire"
)

// Kind is what a published message does.
type Kind string

const (
	Broadcast  Kind = "broadcast"  // Topic, Event, Payload, From
	Push       Kind = "push"       // Channel, Event, Payload
	LateReply  Kind = "reply"      // Channel, Ref, Status, Payload
	Close      Kind = "close"      // Channel
	Crash      Kind = "crash"      // Channel
	Disconnect Kind = "disconnect" // SocketID
	Leave      Kind = "leave"      // SocketID, Topic
	Recheck    Kind = "recheck"    // Topic or SocketID
)

// Message is what a backend published. Fields that its kind does not name are empty.
type Message struct {
	Kind                     Kind
	Topic, Channel, SocketID string
	Event, From, Ref, Status string
	Payload                  []byte
	Binary                   bool
	Trace                    backend.Trace
}

// String is the message on one line, such as `broadcast room:lobby new_msg {"body":"hi"} from gateway.socket.1`. Bytes are written as a quoted string.
func (m Message) String() string {
	words := []string{string(m.Kind)}
	for _, word := range []string{m.SocketID, m.Topic, m.Channel, m.Event, m.Ref, m.Status} {
		if word != "" {
			words = append(words, word)
		}
	}
	switch {
	case m.Binary:
		words = append(words, fmt.Sprintf("%q", m.Payload))
	case len(m.Payload) > 0:
		words = append(words, string(m.Payload))
	}
	if m.From != "" {
		words = append(words, "from", m.From)
	}
	return strings.Join(words, " ")
}

// newMessage reads what a backend published; the subjects are its own, so that they are not checked again.
func newMessage(msg *nats.Msg) Message {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(msg.Subject, "phx."), ".")
	action := value(msg, "Phx-Action")
	m := Message{
		Kind: Kind(action), From: value(msg, "Phx-From"), Ref: value(msg, "Phx-Ref"), Status: value(msg, "Phx-Status"),
		Payload: msg.Data, Binary: value(msg, "Phx-Encoding") == "binary",
		Trace: backend.Trace{Parent: value(msg, "traceparent"), State: value(msg, "tracestate")},
	}
	m.Event, _ = wire.ParseHeader(value(msg, "Phx-Event"))
	switch kind {
	case "topic":
		m.Kind = Broadcast
		m.Topic, _ = wire.ParseTopic(rest)
	case "authz":
		m.Kind = Recheck
		if tokens, ok := strings.CutPrefix(rest, "recheck.topic."); ok {
			m.Topic, _ = wire.ParseTopic(tokens)
		}
		if token, ok := strings.CutPrefix(rest, "recheck.socket."); ok {
			m.SocketID, _ = wire.ParseToken(token)
		}
	case "channel":
		m.Channel = rest
		switch {
		case m.Event != "":
			m.Kind = Push
		case action == "":
			m.Kind = LateReply
		}
	case "socket":
		m.SocketID, _ = wire.ParseToken(rest)
		m.Topic, _ = wire.ParseHeader(value(msg, "Phx-Topic"))
	}
	return m
}

// Reply is what the client of a Call gets.
type Reply struct {
	Status   string // "ok" where the backend said nothing; "none"; empty for a crash
	Action   string // "close", "crash" or empty
	Response []byte // JSON, or bytes
	Binary   bool
	Assigns  json.RawMessage // what the reply changes of the channel's; nil: nothing
}

// String is the reply on one line, such as `ok {"id":1}` or `crash`.
func (r Reply) String() string {
	return strings.TrimSpace(strings.Join([]string{r.Status, string(r.Response), r.Action}, " "))
}

func newReply(msg *nats.Msg) Reply {
	r := Reply{Status: value(msg, "Phx-Status"), Action: value(msg, "Phx-Action"), Response: msg.Data, Binary: value(msg, "Phx-Encoding") == "binary"}
	if assigns := value(msg, "Phx-Assigns"); assigns != "" {
		r.Assigns = json.RawMessage(assigns)
	}
	if r.Status == "" && r.Action != "crash" {
		r.Status = backend.StatusOK
	}
	if r.Status == backend.StatusNone {
		r.Response = nil
	}
	return r
}

// value is a header's; headers may be nil.
func value(msg *nats.Msg, name string) string {
	if values := msg.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
