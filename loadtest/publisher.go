//go:build linux

package main

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// pushRef is the ref of every push of the publishing client; only a refusal is looked at.
const pushRef = "p"

// publisher sends broadcasts on their way. It belongs to one loop.
type publisher interface {
	// publish sends one payload, or prepares it for flush; it is free again when publish returns.
	publish(p payload) error
	flush()
	close()
}

// clientPublisher pushes an event on the topic, as a member.
type clientPublisher struct {
	loop       *loop
	client     *client
	head, text []byte // the message up to its payload; the last message
	out        []byte // frames since the last flush
}

var _ publisher = (*clientPublisher)(nil)

func newClientPublisher(l *loop, c *client, topic, event string) *clientPublisher {
	head := append([]byte(`["`+joinRef+`","`+pushRef+`","`), jsonText(topic)...)
	head = append(append(head, `","`...), jsonText(event)...)
	return &clientPublisher{loop: l, client: c, head: append(head, `",`...)}
}

func (p *clientPublisher) publish(payload payload) error {
	p.text = append(append(append(p.text[:0], p.head...), payload...), ']')
	p.out = appendFrame(p.out, opText, true, p.text)
	return nil
}

// flush writes all frames at once.
func (p *clientPublisher) flush() {
	if len(p.out) > 0 && p.client.state == joined {
		p.loop.send(p.client, p.out)
	}
	p.out = p.out[:0]
}

func (p *clientPublisher) close() {}

// natsPublisher publishes as a backend does, in the form without headers (docs/contract.md, Broadcast).
type natsPublisher struct {
	conn       *nats.Conn
	subject    string
	head, body []byte
}

var _ publisher = (*natsPublisher)(nil)

// newNATSPublisher connects to url. lost is called, from another goroutine, when the connection ends before close.
func newNATSPublisher(url, subject, event string, lost func(error)) (*natsPublisher, error) {
	conn, err := nats.Connect(url, nats.Name("loadtest"), nats.NoReconnect(), nats.ErrorHandler(
		func(_ *nats.Conn, _ *nats.Subscription, err error) { lost(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				lost(err)
			}
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", url, err)
	}
	head := append([]byte(`{"event":"`), jsonText(event)...)
	return &natsPublisher{conn: conn, subject: subject, head: append(head, `","payload":`...)}, nil
}

func (p *natsPublisher) publish(payload payload) error {
	p.body = append(append(append(p.body[:0], p.head...), payload...), '}')
	return p.conn.Publish(p.subject, p.body)
}

// flush does nothing: the connection's own goroutine writes as soon as there is something.
func (p *natsPublisher) flush() {}

func (p *natsPublisher) close() { p.conn.Close() }
