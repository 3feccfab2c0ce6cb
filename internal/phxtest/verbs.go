package phxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// Join joins a topic with the params and wants an ok; it returns the
// response. Frames that come before the reply stay, in their order.
func (c *Client) Join(topic string, params any) json.RawMessage {
	c.t.Helper()
	ref := c.StartJoin(topic, params)
	return c.WantReply(ref, "ok").Payload
}

// StartJoin sends a join and waits for nothing. It returns the ref, which is
// the join_ref too.
func (c *Client) StartJoin(topic string, params any) (ref string) {
	c.t.Helper()
	ref = c.nextRef()
	c.joinRefs[topic] = ref
	c.SendJSON(c.message(ref, ref, topic, "phx_join", params))
	return ref
}

// Leave leaves a topic that was joined, and wants the ok and the phx_close.
func (c *Client) Leave(topic string) {
	c.t.Helper()
	c.WantReply(c.Push(topic, "phx_leave", struct{}{}), "ok")
	c.findMessage("the phx_close of "+topic, func(m Message) bool {
		return m.Topic == topic && m.Event == "phx_close"
	})
	delete(c.joinRefs, topic)
}

// Push sends an event with the join_ref of the last join of the topic (null
// if there was none) and returns the ref.
func (c *Client) Push(topic, event string, payload any) (ref string) {
	c.t.Helper()
	ref = c.nextRef()
	var joinRef any
	if joined, ok := c.joinRefs[topic]; ok {
		joinRef = joined
	}
	c.SendJSON(c.message(joinRef, ref, topic, event, payload))
	return ref
}

// Call pushes an event and wants the reply with that status; it returns the
// response.
func (c *Client) Call(topic, event string, payload any, status string) json.RawMessage {
	c.t.Helper()
	return c.WantReply(c.Push(topic, event, payload), status).Payload
}

// Heartbeat sends a heartbeat and wants its reply. What the server sent on
// this socket before it saw the heartbeat has been received by then.
func (c *Client) Heartbeat() {
	c.t.Helper()
	ref := c.nextRef()
	c.SendJSON(c.message(nil, ref, "phoenix", "heartbeat", struct{}{}))
	c.WantReply(ref, "ok")
}

func (c *Client) nextRef() string {
	c.lastRef++
	return strconv.Itoa(c.lastRef)
}

func (c *Client) message(joinRef, ref any, topic, event string, payload any) any {
	if c.v1 {
		return map[string]any{"topic": topic, "event": event, "payload": payload, "ref": ref}
	}
	return []any{joinRef, ref, topic, event, payload}
}

// Want wants a text frame that matches the pattern as the next thing. The
// pattern (see Match) is a string of JSON, or a value that is encoded as
// JSON. What it binds stays bound for this client.
func (c *Client) Want(pattern any) Frame {
	c.t.Helper()
	p := c.pattern(pattern)
	f, err := c.ws.recv(context.Background(), Patience())
	c.check(err, "want %s", p)
	if !c.matches(p, f) {
		c.fail("got %v\nwant %s", f, p)
	}
	return f
}

// WantUntil skips frames until one matches the pattern, and returns it.
func (c *Client) WantUntil(pattern any) Frame {
	c.t.Helper()
	p := c.pattern(pattern)
	deadline := time.Now().Add(Patience())
	for {
		f, err := c.ws.recv(context.Background(), time.Until(deadline))
		c.check(err, "want, after others, %s", p)
		if c.matches(p, f) {
			return f
		}
	}
}

// WantBinary wants exactly this binary frame as the next thing.
func (c *Client) WantBinary(data []byte) {
	c.t.Helper()
	f, err := c.ws.recv(context.Background(), Patience())
	want := Frame{Binary: true, Data: data}
	c.check(err, "want %v", want)
	if !f.Binary || !bytes.Equal(f.Data, data) {
		c.fail("got %v\nwant %v", f, want)
	}
}

// WantEvent wants a message of the topic with that event and a payload that
// matches the pattern as the next thing, whatever its refs, and returns it.
func (c *Client) WantEvent(topic, event string, payload any) Message {
	c.t.Helper()
	p := c.pattern(payload)
	f, err := c.ws.recv(context.Background(), Patience())
	c.check(err, "want %s %s %s", topic, event, p)
	m, err := ParseMessage(f)
	c.check(err, "want %s %s %s", topic, event, p)
	if m.Topic != topic || m.Event != event || !c.matches(p, Frame{Binary: m.Binary, Data: m.Payload}) {
		c.fail("got %v\nwant %s %s %s", f, topic, event, p)
	}
	return m
}

// WantReply wants the reply to a ref, now or after other frames, which stay
// in their order, and fails unless it has the status ("" for any).
func (c *Client) WantReply(ref, status string) Message {
	c.t.Helper()
	m := c.findMessage("the reply to ref "+ref, func(m Message) bool {
		return m.Event == "phx_reply" && m.Ref == ref
	})
	if status != "" && m.Status != status {
		c.fail("reply to ref %s: status %q %s, want %q", ref, m.Status, m.Payload, status)
	}
	return m
}

func (c *Client) findMessage(what string, wanted func(Message) bool) Message {
	c.t.Helper()
	var m Message
	_, err := c.ws.find(context.Background(), Patience(), func(f Frame) bool {
		var err error
		m, err = ParseMessage(f)
		return err == nil && wanted(m)
	})
	c.check(err, "want %s", what)
	return m
}

// WantNothing wants neither a frame nor the close for d, which is scaled.
func (c *Client) WantNothing(d time.Duration) {
	c.t.Helper()
	f, err := c.ws.recv(context.Background(), Scaled(d))
	if err == nil {
		c.fail("got %v, want nothing", f)
	} else if !errors.Is(err, ErrTimeout) {
		c.fail("%v, want nothing", err)
	}
}

// Bound is the string that {"$bind": name} stands for, empty before a Want
// bound it.
func (c *Client) Bound(name string) string { return c.bound[name] }

func (c *Client) pattern(pattern any) []byte {
	c.t.Helper()
	if text, ok := pattern.(string); ok {
		return []byte(text)
	}
	text, err := encodeJSON(pattern)
	c.check(err, "pattern %v", pattern)
	return text
}

func (c *Client) matches(pattern []byte, f Frame) bool {
	c.t.Helper()
	p, err := decodeJSON(pattern)
	c.check(err, "pattern %s", pattern)
	if f.Binary {
		return false
	}
	v, err := decodeJSON(f.Data)
	if err != nil {
		return false
	}
	var ok bool
	c.bound, ok = matchValue(p, v, c.bound)
	return ok
}
