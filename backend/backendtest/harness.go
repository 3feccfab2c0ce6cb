// Package backendtest runs the handlers of a backend.Backend as a gateway and NATS would, without either:
//
//	h := backendtest.New(t)
//	chat.Register(h.Backend)
//	ann := h.Channel("room:lobby", "user_socket:ann", map[string]string{"role": "member"})
//	reply := ann.Call("new_msg", map[string]string{"body": "hi"})
//	// reply.Status, reply.Response; h.Take() is what was broadcast and pushed
//
// Handlers run on the test's goroutine: when Call returns, all is done that the handler did. Messages are encoded and decoded as on the wire. Presence is kept in memory.
package backendtest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/internal/wire"
)

// Harness is a Backend whose messages come from a test and go to it. Serve does nothing on it but wait.
type Harness struct {
	*backend.Backend
	t    testing.TB
	conn *conn
	last int // number of the last channel or ref
}

// New returns a harness that serves nothing yet. What its backend logs is in the test's log.
func New(t testing.TB) *Harness {
	t.Helper()
	c := &conn{presence: newPresence()}
	b, err := backend.New(c, backend.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return &Harness{Backend: b, t: t, conn: c}
}

// Take returns what the backend published since the last Take, answers to Call, Connect and Join excepted.
func (h *Harness) Take() []Message { return h.conn.take() }

// Connect asks AuthorizeConnect.
func (h *Harness) Connect(request backend.ConnectRequest) ConnectAnswer {
	h.t.Helper()
	var answer ConnectAnswer
	h.authorize("connect", request, &answer)
	return answer
}

// Join asks the AuthorizeJoin of a topic. It does not call Joined.
func (h *Harness) Join(request backend.JoinRequest) JoinAnswer {
	h.t.Helper()
	var answer JoinAnswer
	h.authorize("join", request, &answer)
	return answer
}

// ConnectAnswer is what the gateway is told about a connect. Error is "internal" where AuthorizeConnect had an error that is no Refuse: the client would get 503.
type ConnectAnswer struct {
	Allow     bool            `json:"allow"`
	Reason    string          `json:"reason"`
	ID        string          `json:"id"`
	Assigns   json.RawMessage `json:"assigns"`
	ExpiresAt int64           `json:"expires_at"`
	Error     string          `json:"error"`
}

// JoinAnswer is what the gateway is told about a join; Error is as in ConnectAnswer.
type JoinAnswer struct {
	Status   string          `json:"status"`
	Response json.RawMessage `json:"response"`
	Assigns  json.RawMessage `json:"assigns"`
	Presence *struct {
		Key  string          `json:"key"`
		Meta json.RawMessage `json:"meta"`
	} `json:"presence"`
	Events    *[]string `json:"events"`
	ExpiresAt int64     `json:"expires_at"`
	Error     string    `json:"error"`
}

func (h *Harness) authorize(what string, request, answer any) {
	h.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		h.t.Fatalf("backendtest: %s: %v", what, err)
	}
	reply := h.deliver(&nats.Msg{Subject: "phx.authz." + what, Data: body}, true)
	if reply == nil {
		h.t.Fatalf("backendtest: %s %s: the backend leaves it to others", what, body)
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		h.t.Fatalf("backendtest: %s: answer %s: %v", what, reply.Data, err)
	}
}

// Channel is a joined channel of one client.
type Channel struct {
	Topic, ID, SocketID string
	Assigns             map[string]json.RawMessage // replies change them as they would in a gateway

	h *Harness
}

// Channel returns a channel with these assigns (a JSON object, nil for none). Nobody is asked or told: see Join, and Channel.Joined.
func (h *Harness) Channel(topic, socketID string, assigns any) *Channel {
	h.t.Helper()
	if !wire.ValidTopic(topic) || socketID != "" && !wire.ValidName(socketID) {
		h.t.Fatalf("backendtest: no client could have topic %q or socket id %q", topic, socketID)
	}
	h.last++
	c := &Channel{Topic: topic, ID: fmt.Sprintf("gateway.socket.%d", h.last), SocketID: socketID, Assigns: map[string]json.RawMessage{}, h: h}
	c.merge(h.encode(assigns))
	return c
}

// Call sends an event that is to be answered. The test fails if nothing handles it.
func (c *Channel) Call(event string, payload any) Reply {
	c.h.t.Helper()
	msg := c.event(event, payload)
	answer := c.h.deliver(msg, true)
	if answer == nil {
		c.h.t.Fatalf("backendtest: no answer to %s", msg.Subject)
	}
	reply := newReply(answer)
	if reply.Assigns != nil {
		c.merge(reply.Assigns)
	}
	return reply
}

// Cast sends an event that is not answered. The test fails if nothing handles it.
func (c *Channel) Cast(event string, payload any) {
	c.h.t.Helper()
	c.h.deliver(c.event(event, payload), false)
}

// Joined tells that the channel has joined with these params.
func (c *Channel) Joined(params any) {
	c.h.t.Helper()
	msg := c.message("joined." + wire.Topic(c.Topic))
	msg.Data = c.h.encode(params)
	c.h.deliver(msg, false)
}

// Left tells that the channel has ended.
func (c *Channel) Left(reason string) {
	c.h.t.Helper()
	msg := c.message("left." + wire.Topic(c.Topic))
	msg.Data = c.h.encode(map[string]string{"reason": reason})
	c.h.deliver(msg, false)
}

func (c *Channel) event(name string, payload any) *nats.Msg {
	c.h.t.Helper()
	if !wire.ValidName(name) {
		c.h.t.Fatalf("backendtest: no event has the name %q", name)
	}
	msg := c.message("event." + wire.Token(name) + "." + wire.Topic(c.Topic))
	msg.Header["Phx-Event"] = []string{wire.Header(name)}
	c.h.last++
	msg.Header["Phx-Ref"] = []string{fmt.Sprint(c.h.last)}
	if bytes, ok := payload.(backend.Binary); ok {
		msg.Header["Phx-Encoding"] = []string{"binary"}
		msg.Data = bytes
	} else {
		msg.Data = c.h.encode(payload)
	}
	return msg
}

func (c *Channel) message(subject string) *nats.Msg {
	c.h.t.Helper()
	msg := nats.NewMsg("phx." + subject)
	msg.Header["Phx-Topic"] = []string{wire.Header(c.Topic)}
	msg.Header["Phx-Channel"] = []string{c.ID}
	msg.Header["Phx-Join-Ref"] = []string{"1"}
	msg.Header["Phx-Assigns"] = []string{string(c.h.encode(c.Assigns))}
	if c.SocketID != "" {
		msg.Header["Phx-Socket-Id"] = []string{wire.Header(c.SocketID)}
	}
	return msg
}

func (c *Channel) merge(assigns []byte) {
	c.h.t.Helper()
	var more map[string]json.RawMessage
	if err := json.Unmarshal(assigns, &more); err != nil {
		c.h.t.Fatalf("backendtest: assigns %s: %v", assigns, err)
	}
	maps.Copy(c.Assigns, more)
}

// encode is JSON; nil is {}.
func (h *Harness) encode(v any) []byte {
	h.t.Helper()
	if v == nil {
		return []byte("{}")
	}
	body, err := json.Marshal(v)
	if err != nil {
		h.t.Fatalf("backendtest: %v", err)
	}
	return body
}

// replySubject is where the answer to a request goes; one is under way at a time.
const replySubject = "_INBOX.backendtest"

// deliver has the backend handle a message and returns the answer, if it is a request and there is one.
func (h *Harness) deliver(msg *nats.Msg, request bool) *nats.Msg {
	h.t.Helper()
	if request {
		msg.Reply = replySubject
	}
	h.conn.takeReply()
	handled, err := h.Deliver(context.Background(), msg)
	if err != nil || !handled {
		h.t.Fatalf("backendtest: nothing handles %s (%v)", msg.Subject, err)
	}
	return h.conn.takeReply()
}
