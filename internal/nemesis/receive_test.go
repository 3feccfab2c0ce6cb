package nemesis

import (
	"encoding/json"
	"fmt"
)

// read handles what comes until the connection is over.
func (c *client) read(w *wire) {
	for {
		text, err := w.receive()
		if err != nil {
			return
		}
		f, err := parseFrame(text)
		if err != nil {
			c.crowd.note("client %d: %v", c.number, err)
			return
		}
		if err := c.handle(&f); err != nil {
			c.crowd.note("client %d at gateway %d, topic %d: %v", c.number, c.gateway, f.topic, err)
		}
	}
}

func (c *client) handle(f *frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.channels[f.topic]
	switch f.event {
	case numberedEvent:
		return c.received(ch, f)
	case "phx_reply":
		return c.replied(ch, f)
	case "phx_error":
		if ch != nil && ch.state == joined && f.joinRef == ch.joinRef {
			c.told(ch)
			ch.fail()
		}
	case "phx_close":
		if ch != nil && ch.state == joined && f.joinRef == ch.joinRef {
			return fmt.Errorf("phx_close, which nobody asked for")
		}
	}
	return nil
}

// received notes a numbered message. Those that were on their way when the client left come until the reply to its leave.
func (c *client) received(ch *channel, f *frame) error {
	var m number
	if err := json.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	switch {
	case ch == nil || ch.state == errored || ch.state == joining:
		return fmt.Errorf("received %+v without being joined", m)
	case ch.state == leaving:
	case !c.crowd.ledger.receive(ch.member, streamID{m.Publisher, m.Epoch, f.topic}, m.N):
		c.crowd.late.Add(1)
	}
	return nil
}

// replied handles the answer to a join, a leave or a published message.
func (c *client) replied(ch *channel, f *frame) error {
	status, reason, err := f.replied()
	if err != nil {
		return err
	}
	if p, ok := c.pushes[f.ref]; ok {
		delete(c.pushes, f.ref)
		o := handed
		if status != "ok" {
			o = refused
			c.crowd.refusals.Add(1)
		}
		p.stream.settle(p.n, o)
		return nil
	}
	switch {
	case ch == nil || f.joinRef != ch.joinRef:
	case ch.state == joining && f.ref == ch.joinRef && status == "ok":
		ch.state, ch.tries = joined, 0
		ch.member = c.crowd.ledger.join(c.number, c.gateway, ch.topic)
		c.crowd.joins.Add(1)
		if ch.topic >= freshTopic || c.lastRef%4 == 0 { // at every NATS server at once: nothing may fall between the reply and this
			for _, welcome := range c.crowd.welcomes {
				welcome(ch.topic)
			}
		}
	case ch.state == joining && f.ref == ch.joinRef:
		c.crowd.refused(reason)
		ch.fail()
	case ch.state == leaving:
		delete(c.channels, ch.topic)
	}
	return nil
}
