package backend

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/nats-io/nats.go"
)

// handle runs the handler of an event and answers as it says.
func (b *Backend) handle(ctx context.Context, h *handler, e *Event, replyTo string) {
	var reply Reply
	var refusal Refuse
	err := safely(func() (err error) { reply, err = h.handle(ctx, e); return err })
	if refused(err, &refusal) {
		reply, err = Reply{Status: refusal.Status, Response: refusal.response()}, nil
		if reply.Status == "" {
			reply.Status = StatusError
		}
	}
	if err == nil && e.Call {
		err = b.answer(replyTo, reply)
	}
	if err == nil && !e.Call && (reply.Assigns != nil || reply.Close) {
		err = errors.New("the reply to a cast cannot assign or close")
	}
	if err == nil {
		return
	}
	b.logError("event", err, "topic", e.Topic, "event", e.Name, "channel", e.Channel)
	if e.Call {
		crash := &nats.Msg{Subject: replyTo}
		setHeader(crash, "Phx-Action", "crash")
		err = b.publish(ctx, "crash", crash)
	} else {
		err = b.crashBehind(ctx, e)
	}
	if err != nil {
		b.logError("crash", err, "channel", e.Channel)
	}
}

// answer publishes the reply to a call. It has a status only where it is not ok, since headers are dear.
func (b *Backend) answer(replyTo string, reply Reply) error {
	body, binary, err := encode(reply.Response)
	if err != nil {
		return err
	}
	assigns, err := encodeAssigns(reply.Assigns)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: replyTo, Data: body}
	if reply.Status != StatusOK {
		setHeader(msg, "Phx-Status", reply.Status)
	}
	setHeader(msg, "Phx-Assigns", string(assigns))
	if reply.Close {
		setHeader(msg, "Phx-Action", "close")
	}
	setBinary(msg, binary)
	return b.conn.PublishMsg(msg)
}

// tellJoined runs the Joined of a topic.
func (b *Backend) tellJoined(ctx context.Context, t *Topic, e *Event) {
	err := safely(func() error { return t.joined(ctx, e) })
	if err == nil {
		return
	}
	b.logError("joined", err, "topic", e.Topic, "channel", e.Channel)
	if err := b.crashBehind(ctx, e); err != nil {
		b.logError("crash", err, "channel", e.Channel)
	}
}

// crashBehind crashes a channel that does not wait for an answer.
func (b *Backend) crashBehind(ctx context.Context, e *Event) error {
	if e.Channel == "" {
		return nil
	}
	return b.CrashChannel(ctx, e.Channel)
}

// tellLeft runs the Left of a topic.
func (b *Backend) tellLeft(ctx context.Context, t *Topic, e *Event, reason string) {
	if err := safely(func() error { return t.left(ctx, e, reason) }); err != nil {
		b.logError("left", err, "topic", e.Topic, "channel", e.Channel)
	}
}

// noDecision answers a connect or join request with nothing that a gateway takes for a decision: it fails closed, and at once.
const noDecision = `{"error":"internal"}`

// answerAuthz answers a connect or join request.
func (b *Backend) answerAuthz(msg *nats.Msg, answer []byte, err error) {
	if err != nil {
		b.logError("authorize", err, "subject", msg.Subject)
		answer = []byte(noDecision)
	}
	b.publishAuthz(msg, string(answer))
}

func (b *Backend) publishAuthz(msg *nats.Msg, answer string) {
	if err := b.conn.PublishMsg(&nats.Msg{Subject: msg.Reply, Data: []byte(answer)}); err != nil {
		b.logError("authorize", err, "subject", msg.Subject)
	}
}

// answerOverloaded refuses a call without looking at it.
func (b *Backend) answerOverloaded(msg *nats.Msg) {
	if err := b.answer(msg.Reply, Reply{Status: StatusError, Response: map[string]string{"reason": "overloaded"}}); err != nil {
		b.logError("overloaded", err, "subject", msg.Subject)
	}
}

// refused reports whether err is or wraps a Refuse, and which.
func refused(err error, refusal *Refuse) bool { return err != nil && errors.As(err, refusal) }

// panicError is a panic of a handler as an error.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// safely runs a part of a handler and makes an error of its panic.
func safely(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return f()
}

// logError logs what went wrong in the service of one message, a panic with its stack.
func (b *Backend) logError(what string, err error, attributes ...any) {
	attributes = append(attributes, "err", err)
	var p *panicError
	if errors.As(err, &p) {
		attributes = append(attributes, "stack", string(p.stack))
	}
	b.opts.Log.Error("backend: "+what, attributes...)
}
