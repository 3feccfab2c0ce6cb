package authz

import (
	"encoding/json"
	"fmt"

	"github.com/phxgate/phxgate/gateway/phx"
)

// JoinRequest is what is asked on phx.authz.join, once per join, and again where a joined channel must be authorized anew.
type JoinRequest struct {
	Topic   string          `json:"topic"`
	Params  json.RawMessage `json:"params"`  // of the join, as the client sent them; nil: {}
	Channel string          `json:"channel"` // the channel id
	Socket  SocketInfo      `json:"socket"`

	Reauthorize bool `json:"reauthorize,omitempty"` // of a channel that is joined: its client sent other params
	Recheck     bool `json:"recheck,omitempty"`     // of a channel that is joined: phx.authz.recheck asked for it
}

// SocketInfo is what a JoinRequest says about the socket: what its connect was granted.
type SocketInfo struct {
	ID        *string         `json:"id"`        // nil: anonymous
	Assigns   json.RawMessage `json:"assigns"`   // an object; nil: none
	Transport string          `json:"transport"` // "websocket" or "longpoll"
	Peer      string          `json:"peer"`      // the client's IP address
}

// Append appends the request's JSON to dst: every key, always, but for those that are true of few. Params and Assigns go as they are and must be valid JSON.
func (r *JoinRequest) Append(dst []byte) []byte {
	dst = append(dst, `{"topic":`...)
	dst = phx.AppendQuote(dst, r.Topic)
	dst = append(dst, `,"params":`...)
	dst = appendRaw(dst, r.Params, "{}")
	dst = append(dst, `,"channel":`...)
	dst = phx.AppendQuote(dst, r.Channel)
	dst = append(dst, `,"socket":{"id":`...)
	dst = appendOptional(dst, r.Socket.ID)
	dst = append(dst, `,"assigns":`...)
	dst = appendRaw(dst, r.Socket.Assigns, "{}")
	dst = append(dst, `,"transport":`...)
	dst = phx.AppendQuote(dst, r.Socket.Transport)
	dst = append(dst, `,"peer":`...)
	dst = phx.AppendQuote(dst, r.Socket.Peer)
	dst = append(dst, '}')
	if r.Reauthorize {
		dst = append(dst, `,"reauthorize":true`...)
	}
	if r.Recheck {
		dst = append(dst, `,"recheck":true`...)
	}
	return append(dst, '}')
}

// JoinReply is what an authz service says to a JoinRequest. Where it is not OK, Response is all there is.
type JoinReply struct {
	OK        bool
	Response  json.RawMessage // what the client's join() receives, byte for byte as it came; {} if absent
	Assigns   json.RawMessage // goes over the socket's, an object as it came; nil: none
	Presence  *Presence       // nil: as the rule says
	Events    []string        // where HasEvents, all that this client may send, perhaps none
	HasEvents bool
	ExpiresAt int64 // unix seconds, when the channel is closed, perhaps past; 0: never
}

// Presence is the part a channel takes in its topic's presence. The limits of key and meta, and which keys break
// clients, are presence's to check.
type Presence struct {
	Key    string          // tracked under it, where HasKey
	HasKey bool            // false: sees the others without being seen
	Meta   json.RawMessage // an object as it came; nil: none
}

// ParseJoinReply reads a join reply. The error wraps ErrNonsense; the reply is then the zero one, which grants nothing.
// A reply with status "error" is no error, whatever stands beside its response.
func ParseJoinReply(body []byte) (JoinReply, error) {
	if err := phx.CheckPayload(body); err != nil {
		return JoinReply{}, fmt.Errorf("%w: %w", ErrNonsense, err)
	}
	var status, response, assigns, presence, events, expiresAt []byte
	err := pickFields(body, map[string]*[]byte{
		"status": &status, "response": &response, "assigns": &assigns,
		"presence": &presence, "events": &events, "expires_at": &expiresAt,
	})
	if err != nil {
		return JoinReply{}, err
	}
	if status == nil {
		return JoinReply{}, nonsense("status is missing")
	}
	word, err := parseString(status)
	if err != nil {
		return JoinReply{}, nonsense("status: %w", err)
	}
	if response == nil { // a null is a response like any other
		response = []byte("{}")
	}
	switch word {
	case "ok":
		return parseJoined(response, assigns, presence, events, expiresAt)
	case "error":
		return JoinReply{Response: response}, nil
	default:
		return JoinReply{}, nonsense("status is neither ok nor error")
	}
}

// parseJoined reads what a reply with status "ok" gives the channel.
func parseJoined(response, assigns, presence, events, expiresAt []byte) (JoinReply, error) {
	reply := JoinReply{OK: true, Response: response}
	var err error
	if reply.Assigns, err = parseObject("assigns", assigns); err != nil {
		return JoinReply{}, err
	}
	if reply.Presence, err = parsePresence(presence); err != nil {
		return JoinReply{}, err
	}
	if reply.Events, reply.HasEvents, err = parseEvents(events); err != nil {
		return JoinReply{}, err
	}
	if reply.ExpiresAt, err = parseExpiresAt(expiresAt); err != nil {
		return JoinReply{}, err
	}
	return reply, nil
}

func parsePresence(raw []byte) (*Presence, error) {
	obj, err := parseObject("presence", raw)
	if obj == nil || err != nil {
		return nil, err
	}
	var key, meta []byte
	if err := pickFields(obj, map[string]*[]byte{"key": &key, "meta": &meta}); err != nil {
		return nil, err
	}
	var presence Presence
	if presence.Meta, err = parseObject("presence.meta", meta); err != nil {
		return nil, err
	}
	if isAbsent(key) {
		return &presence, nil
	}
	presence.HasKey = true
	if c := key[0]; c == '-' || c >= '0' && c <= '9' { // keys are always strings (Phoenix 1.8 presence.ex)
		presence.Key = string(key)
		return &presence, nil
	}
	if presence.Key, err = parseString(key); err != nil {
		return nil, nonsense("presence.key: %w", err)
	}
	return &presence, nil
}

func parseEvents(raw []byte) (events []string, present bool, err error) {
	if isAbsent(raw) {
		return nil, false, nil
	}
	if raw[0] != '[' {
		return nil, false, nonsense("events is not an array")
	}
	for rest := phx.TrimJSON(raw[1:]); rest[0] != ']'; rest = phx.TrimJSON(rest) {
		end := stringEnd(rest)
		if end < 0 {
			return nil, false, nonsense("events[%d] is not a string", len(events))
		}
		event, err := parseString(rest[:end])
		if err != nil {
			return nil, false, nonsense("events[%d]: %w", len(events), err)
		}
		events = append(events, event)
		if rest = phx.TrimJSON(rest[end:]); rest[0] == ',' {
			rest = rest[1:]
		}
	}
	return events, true, nil
}

// stringEnd returns the length of the JSON string that valid JSON begins with, or -1 where it begins with another value.
func stringEnd(raw []byte) int {
	if raw[0] != '"' {
		return -1
	}
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
