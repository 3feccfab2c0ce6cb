package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// ConnectRequest asks whether somebody may open a socket. It must not be changed.
type ConnectRequest struct {
	Transport string            `json:"transport"` // websocket or longpoll
	VSN       string            `json:"vsn"`
	Params    json.RawMessage   `json:"params"`     // of the query
	AuthToken string            `json:"auth_token"` // empty: none was found
	Claims    json.RawMessage   `json:"claims"`     // of a JWT that the gateway verified, else null
	Peer      string            `json:"peer"`       // the client's IP address
	Headers   map[string]string `json:"headers"`    // the gateway's AUTHZ_HEADERS, in lower case
}

// Decode reads the params into v; its error is a Refuse.
func (r *ConnectRequest) Decode(v any) error { return decode(r.Params, v, "invalid params") }

// ConnectReply allows a connect. The zero value is an anonymous socket.
type ConnectReply struct {
	ID        string    // of the socket, for Disconnect and Leave; several sockets may have the same
	Assigns   any       // a JSON object; nil for none
	ExpiresAt time.Time // the socket is closed then; zero: never
}

// JoinRequest asks whether a socket may join a topic, or may stay there. It must not be changed.
type JoinRequest struct {
	Topic   string          `json:"topic"`
	Params  json.RawMessage `json:"params"`
	Channel string          `json:"channel"` // the id that the channel will have
	Socket  struct {
		ID        string          `json:"id"`
		Assigns   json.RawMessage `json:"assigns"`
		Transport string          `json:"transport"`
		Peer      string          `json:"peer"`
	} `json:"socket"`

	// Of a channel that is joined already; one that is refused now ends. Reauthorize: its client sent an event for which the rule says `do: reauthorize`, and Params are the join's with the event's
	// over them. Recheck: it is asked about anew, because of RecheckTopic or RecheckSocket, or since such an order may have been missed.
	Reauthorize bool `json:"reauthorize"`
	Recheck     bool `json:"recheck"`
}

// Decode reads the params into v; its error is a Refuse.
func (r *JoinRequest) Decode(v any) error { return decode(r.Params, v, "invalid params") }

// DecodeAssigns reads the socket's assigns into v.
func (r *JoinRequest) DecodeAssigns(v any) error { return decodeAssigns(r.Socket.Assigns, v) }

// JoinReply allows a join. The zero value does, without more.
type JoinReply struct {
	Response  any       // what the client's join() receives; nil for {}
	Assigns   any       // a JSON object, merged over the socket's; nil for none
	Presence  *Presence // nil: what the channel's rule says
	Events    []string  // what the client may send; nil: everything, empty: nothing
	ExpiresAt time.Time // the client must join anew then; zero: never
}

// Presence tracks the joined channel. Without a key it sees the others without being seen.
type Presence struct {
	Key  string `json:"key,omitempty"`
	Meta any    `json:"meta,omitempty"` // a JSON object; nil: an empty one
}

// authorizeConnect is the answer to the body of a connect request.
func (b *Backend) authorizeConnect(ctx context.Context, body []byte) ([]byte, error) {
	var request ConnectRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	var reply ConnectReply
	var refusal Refuse
	err := safely(func() (err error) { reply, err = b.connect(ctx, &request); return err })
	if refused(err, &refusal) {
		return json.Marshal(map[string]any{"allow": false, "reason": refusal.Reason})
	}
	if err != nil {
		return nil, err
	}
	assigns, err := encodeAssigns(reply.Assigns)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Allow     bool            `json:"allow"`
		ID        string          `json:"id,omitempty"`
		Assigns   json.RawMessage `json:"assigns,omitempty"`
		ExpiresAt int64           `json:"expires_at,omitempty"`
	}{true, reply.ID, assigns, unix(reply.ExpiresAt)})
}

// authorizeJoin is the answer to a join request.
func authorizeJoin(ctx context.Context, t *Topic, request *JoinRequest) ([]byte, error) {
	var reply JoinReply
	var refusal Refuse
	err := safely(func() (err error) { reply, err = t.join(ctx, request); return err })
	if refused(err, &refusal) {
		return json.Marshal(map[string]any{"status": "error", "response": refusal.response()})
	}
	if err != nil {
		return nil, err
	}
	if _, ok := reply.Response.(Binary); ok {
		return nil, fmt.Errorf("response of a join: %w", errBinary)
	}
	response, _, err := encode(reply.Response)
	if err != nil {
		return nil, err
	}
	assigns, err := encodeAssigns(reply.Assigns)
	if err != nil {
		return nil, err
	}
	var events *[]string
	if reply.Events != nil {
		events = &reply.Events
	}
	return json.Marshal(struct {
		Status    string          `json:"status"`
		Response  json.RawMessage `json:"response"`
		Assigns   json.RawMessage `json:"assigns,omitempty"`
		Presence  *Presence       `json:"presence,omitempty"`
		Events    *[]string       `json:"events,omitempty"`
		ExpiresAt int64           `json:"expires_at,omitempty"`
	}{StatusOK, response, assigns, reply.Presence, events, unix(reply.ExpiresAt)})
}

// unix is 0 for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
