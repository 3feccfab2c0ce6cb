package backendtest

import (
	"context"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// conn is a backend.Conn that keeps what is published. A handler may use it from goroutines of its own.
type conn struct {
	presence *presence

	mu        sync.Mutex
	published []Message
	reply     *nats.Msg // the answer to the request that is under way
}

func (c *conn) PublishMsg(msg *nats.Msg) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if msg.Subject == replySubject {
		c.reply = msg
		return nil
	}
	c.published = append(c.published, newMessage(msg))
	return nil
}

// RequestMsgWithContext answers as the presence service does; there is no other.
func (c *conn) RequestMsgWithContext(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	what, ok := strings.CutPrefix(msg.Subject, "phx.presence.")
	if !ok {
		return nil, nats.ErrNoResponders
	}
	kind, topic, _ := strings.Cut(what, ".")
	c.mu.Lock()
	defer c.mu.Unlock()
	return &nats.Msg{Data: c.presence.answer(kind, topic, msg.Data)}, nil
}

func (c *conn) ChanQueueSubscribe(subject, queue string, _ chan *nats.Msg) (*nats.Subscription, error) {
	return &nats.Subscription{Subject: subject, Queue: queue}, nil
}

func (c *conn) FlushWithContext(ctx context.Context) error { return ctx.Err() }

func (c *conn) take() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	published := c.published
	c.published = nil
	return published
}

func (c *conn) takeReply() *nats.Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := c.reply
	c.reply = nil
	return reply
}
