package backend

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend/internal/wire"
)

// The methods of this file publish and wait for nothing: nil means that the message was handed to the connection. Of ctx they use the trace context alone. They may be
// called by anybody at any time, before Serve and without it too, and keep the order of the calls.

// BroadcastOption says more about one broadcast.
type BroadcastOption struct{ from string }

// From spares one channel, the sender's: with it a broadcast is Phoenix's broadcast_from. An empty id spares nobody.
func From(channel string) BroadcastOption { return BroadcastOption{from: channel} }

// Broadcast sends an event to every member of topic, on every gateway. The payload is anything that encodes to a JSON object, or Binary; nil is {}.
// Errors: ErrInvalidTopic, ErrInvalidEvent, ErrInvalidPayload, ErrInvalidChannel for From, and those of nats.go.
func (b *Backend) Broadcast(ctx context.Context, topic, event string, payload any, options ...BroadcastOption) error {
	if !wire.ValidTopic(topic) {
		return fmt.Errorf("broadcast %q: %w", topic, ErrInvalidTopic)
	}
	msg, err := eventMessage(b.subject("topic", wire.Topic(topic)), event, payload)
	if err != nil {
		return fmt.Errorf("broadcast %q: %w", event, err)
	}
	for _, option := range options {
		if option.from != "" && !wire.ValidChannel(option.from) {
			return fmt.Errorf("broadcast from %q: %w", option.from, ErrInvalidChannel)
		}
		setHeader(msg, "Phx-From", option.from)
	}
	return b.publish(ctx, "broadcast", msg)
}

// Push sends an event to one channel. Payload and errors are Broadcast's, with ErrInvalidChannel for the topic's.
func (b *Backend) Push(ctx context.Context, channel, event string, payload any) error {
	if !wire.ValidChannel(channel) {
		return fmt.Errorf("push to %q: %w", channel, ErrInvalidChannel)
	}
	msg, err := eventMessage(b.subject("channel", channel), event, payload)
	if err != nil {
		return fmt.Errorf("push %q: %w", event, err)
	}
	return b.publish(ctx, "push", msg)
}

// Reply answers late an event that was answered with NoReply: Phoenix's reply/2. channel and ref are the event's, the response is as in [Reply].
// Errors: ErrInvalidChannel, ErrInvalidRef, ErrInvalidPayload, and those of nats.go.
func (b *Backend) Reply(ctx context.Context, channel, ref, status string, response any) error {
	if !wire.ValidChannel(channel) {
		return fmt.Errorf("reply to %q: %w", channel, ErrInvalidChannel)
	}
	if ref == "" {
		return fmt.Errorf("reply to %q: %w", channel, ErrInvalidRef)
	}
	body, binary, err := encode(response)
	if err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	msg := &nats.Msg{Subject: b.subject("channel", channel), Data: body}
	setHeader(msg, "Phx-Ref", ref)
	setHeader(msg, "Phx-Status", status)
	if status == "" {
		setHeader(msg, "Phx-Status", StatusOK)
	}
	setBinary(msg, binary)
	return b.publish(ctx, "reply", msg)
}

// CloseChannel ends a channel as {:stop, :normal, socket} does: the client gets phx_close and does not rejoin. Errors: ErrInvalidChannel, and those of nats.go.
func (b *Backend) CloseChannel(ctx context.Context, channel string) error {
	return b.endChannel(ctx, channel, "close")
}

// CrashChannel ends a channel as an exception does: the client gets phx_error, and rejoins. Errors: ErrInvalidChannel, and those of nats.go.
func (b *Backend) CrashChannel(ctx context.Context, channel string) error {
	return b.endChannel(ctx, channel, "crash")
}

func (b *Backend) endChannel(ctx context.Context, channel, action string) error {
	if !wire.ValidChannel(channel) {
		return fmt.Errorf("%s %q: %w", action, channel, ErrInvalidChannel)
	}
	msg := &nats.Msg{Subject: b.subject("channel", channel)}
	setHeader(msg, "Phx-Action", action)
	return b.publish(ctx, action, msg)
}

// Disconnect closes every socket of an id, on every gateway: Phoenix's Endpoint.broadcast(id, "disconnect", %{}). Errors: ErrInvalidSocket, and those of nats.go.
func (b *Backend) Disconnect(ctx context.Context, socketID string) error {
	if !wire.ValidName(socketID) {
		return fmt.Errorf("disconnect %q: %w", socketID, ErrInvalidSocket)
	}
	msg := &nats.Msg{Subject: b.subject("socket", wire.Token(socketID))}
	setHeader(msg, "Phx-Action", "disconnect")
	return b.publish(ctx, "disconnect", msg)
}

// Leave closes one topic on every socket of an id; the clients get phx_close. Errors: ErrInvalidSocket, ErrInvalidTopic, and those of nats.go.
func (b *Backend) Leave(ctx context.Context, socketID, topic string) error {
	switch {
	case !wire.ValidName(socketID):
		return fmt.Errorf("leave %q: %w", socketID, ErrInvalidSocket)
	case !wire.ValidTopic(topic):
		return fmt.Errorf("leave %q: %w", topic, ErrInvalidTopic)
	}
	msg := &nats.Msg{Subject: b.subject("socket", wire.Token(socketID))}
	setHeader(msg, "Phx-Action", "leave")
	setHeader(msg, "Phx-Topic", wire.Header(topic))
	return b.publish(ctx, "leave", msg)
}

// RecheckTopic makes gateways ask anew, at their pace, about every channel of a topic whose join was decided about: those that are refused now get phx_close, and nothing more of the
// topic. Errors: ErrInvalidTopic, and those of nats.go.
func (b *Backend) RecheckTopic(ctx context.Context, topic string) error {
	if !wire.ValidTopic(topic) {
		return fmt.Errorf("recheck %q: %w", topic, ErrInvalidTopic)
	}
	return b.publish(ctx, "recheck", &nats.Msg{Subject: b.subject("authz", "recheck.topic."+wire.Topic(topic))})
}

// RecheckSocket is RecheckTopic for all channels of every socket of an id. Errors: ErrInvalidSocket, and those of nats.go.
func (b *Backend) RecheckSocket(ctx context.Context, socketID string) error {
	if !wire.ValidName(socketID) {
		return fmt.Errorf("recheck %q: %w", socketID, ErrInvalidSocket)
	}
	return b.publish(ctx, "recheck", &nats.Msg{Subject: b.subject("authz", "recheck.socket."+wire.Token(socketID))})
}

// eventMessage is the message of a broadcast or push.
func eventMessage(subject, event string, payload any) (*nats.Msg, error) {
	if !wire.ValidName(event) || strings.HasPrefix(event, "phx_") {
		return nil, ErrInvalidEvent
	}
	body, binary, err := encodeObject(payload)
	if err != nil {
		return nil, err
	}
	msg := &nats.Msg{Subject: subject, Data: body}
	setHeader(msg, "Phx-Event", wire.Header(event))
	setBinary(msg, binary)
	return msg, nil
}

func setBinary(msg *nats.Msg, binary bool) {
	if binary {
		setHeader(msg, "Phx-Encoding", "binary")
	}
}

func (b *Backend) publish(ctx context.Context, what string, msg *nats.Msg) error {
	trace(ctx, msg)
	if err := b.conn.PublishMsg(msg); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// subject is "<prefix>.<kind>.<tokens>".
func (b *Backend) subject(kind, tokens string) string {
	return b.opts.Prefix + "." + kind + "." + tokens
}
