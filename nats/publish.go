package nats

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/phx"
)

// maxEvent is the longest event name in bytes.
const maxEvent = 255

// largeBody is the size in bytes from which a body is so dear to check that it is looked up first whether it will be dropped. The presence service's diffs never are.
const largeBody = 4 << 10

// broadcast checks a backend's or gateway's publish on a topic and hands it over. It is checked here once, and not by any member.
func (b *Bus) broadcast(topic string, m *natsgo.Msg) {
	if len(m.Data) >= largeBody && b.inbox.Full(topic) && !bytes.Contains(m.Data, []byte(`"presence"`)) {
		b.stats.Dropped[dropTopicFull].Add(1)
		return
	}
	out := &gateway.Broadcast{Topic: topic}
	var reason dropReason
	var stamp []byte // of a diff of the presence service
	if _, ok := m.Header["Phx-Event"]; ok {
		out.Event, out.Payload, out.Binary, reason = readEvent(m)
		if reason == dropNone {
			out.From = m.Header.Get("Phx-From")
		}
	} else {
		stamp, reason = readEnvelope(m.Data, out)
		if m.Header.Get("Phx-Encoding") == "binary" {
			reason = dropNoEvent // bytes cannot be an envelope
		}
	}
	if reason != dropNone {
		b.drop(m.Subject, reason)
		return
	}
	if stamp != nil && b.presence != nil && out.Event == "presence_diff" {
		b.presence.Diff(topic, out.Payload, stamp)
		return
	}
	b.inbox.Broadcast(out)
}

// readEvent reads a publish whose header names the event.
func readEvent(m *natsgo.Msg) (event string, payload []byte, binary bool, reason dropReason) {
	event, ok := header(m, "Phx-Event")
	if !ok {
		reason = dropEventHeader
	} else {
		reason = checkEvent(event)
	}
	if reason != dropNone {
		return "", nil, false, reason
	}
	switch encoding := m.Header.Get("Phx-Encoding"); encoding {
	case "binary":
		return event, m.Data, true, dropNone
	case "", "json":
	default:
		return "", nil, false, dropEncoding
	}
	return event, m.Data, false, checkPayload(m.Data)
}

// readEnvelope reads {"event":…,"payload":{…},"from":…}; unknown keys are ignored. stamp is the value of "presence", which the presence service puts beside its diffs; nil if
// there is none.
func readEnvelope(body []byte, out *gateway.Broadcast) (stamp []byte, reason dropReason) {
	// The envelope is one level of its own.
	if err := phx.CheckJSONDepth(body, phx.MaxDepth+1); err != nil {
		return nil, reasonOf(err)
	}
	if !phx.IsObject(body) {
		return nil, dropNoEvent
	}
	var event, payload, from []byte
	phx.EachMember(body, func(key, raw []byte) bool {
		switch string(key) {
		case "event":
			event = raw
		case "payload":
			payload = raw
		case "from":
			from = raw
		case "presence":
			stamp = raw
		}
		return true
	})
	if event == nil || event[0] != '"' {
		return nil, dropNoEvent
	}
	name, err := phx.AppendUnquote(nil, event)
	if err != nil {
		return nil, dropNoEvent
	}
	out.Event = string(name)
	if reason := checkEvent(out.Event); reason != dropNone {
		return nil, reason
	}
	if payload == nil || payload[0] != '{' {
		return nil, dropNotObject
	}
	out.Payload = payload
	if from != nil && string(from) != "null" {
		if from[0] != '"' {
			return nil, dropFrom
		}
		id, err := phx.AppendUnquote(nil, from)
		if err != nil {
			return nil, dropFrom
		}
		out.From = string(id)
	}
	return stamp, dropNone
}

// checkEvent checks the name of a broadcast or push. Names that begin with phx_ are the protocol's own.
func checkEvent(event string) dropReason {
	switch {
	case event == "":
		return dropNoEvent
	case len(event) > maxEvent:
		return dropLongEvent
	case strings.HasPrefix(event, "phx_"):
		return dropReserved
	}
	return dropNone
}

func checkPayload(body []byte) dropReason { return reasonOf(phx.CheckPayload(body)) }

// reasonOf names an error of the JSON checks.
func reasonOf(err error) dropReason {
	switch {
	case err == nil:
		return dropNone
	case errors.Is(err, phx.ErrNotUTF8):
		return dropNotUTF8
	case errors.Is(err, phx.ErrTooDeep):
		return dropTooDeep
	case errors.Is(err, phx.ErrNotObject):
		return dropNotObject
	}
	return dropNotJSON
}

// header returns a decoded header value, "" if there is none; false if it does not decode.
func header(m *natsgo.Msg, key string) (string, bool) {
	v := m.Header.Get(key)
	if v == "" {
		return "", true
	}
	s, err := DecodeHeader(v)
	if err != nil || !utf8.ValidString(s) {
		return "", false
	}
	return s, true
}

// channel reads a message for one channel.
func (b *Bus) channel(m *natsgo.Msg) {
	id, ok := b.subjects.ParseChannel(m.Subject)
	if !ok {
		b.drop(m.Subject, dropBadID)
		return
	}
	out := &gateway.ChannelMessage{Channel: id}
	var ok2 bool
	if out.Action, ok2 = action(m); !ok2 || out.Action == gateway.ActionDisconnect || out.Action == gateway.ActionLeave {
		b.drop(m.Subject, dropAction)
		return
	}
	_, hasEvent := m.Header["Phx-Event"]
	_, hasRef := m.Header["Phx-Ref"]
	_, hasStatus := m.Header["Phx-Status"]
	var reason dropReason
	switch {
	case hasEvent:
		out.Event, out.Payload, out.Binary, reason = readEvent(m)
	case hasRef && hasStatus:
		out.Ref = m.Header.Get("Phx-Ref")
		out.Late, reason = readAnswer(m)
		out.Action = gateway.ActionNone // the answer has it
	case out.Action == gateway.ActionNone:
		reason = dropMeaningless
	}
	if reason != dropNone {
		b.drop(m.Subject, reason)
		return
	}
	b.inbox.Channel(out)
}

// socket reads an order for the sockets of an id.
func (b *Bus) socket(m *natsgo.Msg) {
	id, ok := b.subjects.ParseSocket(m.Subject)
	if !ok {
		b.drop(m.Subject, dropBadID)
		return
	}
	out := &gateway.SocketMessage{ID: id}
	out.Action, ok = action(m)
	if out.Action == gateway.ActionNone && m.Header.Get("Phx-Event") == "disconnect" {
		out.Action = gateway.ActionDisconnect
	}
	var reason dropReason
	switch {
	case !ok:
		reason = dropAction
	case out.Action == gateway.ActionDisconnect:
	case out.Action == gateway.ActionLeave:
		if out.Topic, _ = header(m, "Phx-Topic"); out.Topic == "" {
			reason = dropTopicHeader
		}
	default:
		reason = dropMeaningless
	}
	if reason != dropNone {
		b.drop(m.Subject, reason)
		return
	}
	b.inbox.Socket(out)
}

// recheck reads an order to authorize channels anew. Its body says nothing.
func (b *Bus) recheck(m *natsgo.Msg) {
	switch topic, id, ok := b.subjects.ParseRecheck(m.Subject); {
	case !ok:
		b.drop(m.Subject, dropBadID)
	case topic != "":
		b.inbox.RecheckTopic(topic)
	default:
		b.inbox.RecheckSocket(id)
	}
}

// action reads Phx-Action; false if it is none of the contract's words.
func action(m *natsgo.Msg) (gateway.Action, bool) {
	switch m.Header.Get("Phx-Action") {
	case "":
		return gateway.ActionNone, true
	case "close":
		return gateway.ActionClose, true
	case "crash":
		return gateway.ActionCrash, true
	case "disconnect":
		return gateway.ActionDisconnect, true
	case "leave":
		return gateway.ActionLeave, true
	}
	return gateway.ActionNone, false
}
