package nats

import (
	"encoding/json"
	"errors"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/presence"
)

// storeTimeout is how long the bucket may take to acknowledge a change before it is sent again.
const storeTimeout = 2 * time.Second

// PresenceInbox takes what a gateway's bus brings of presence. *presence.Tracker implements it. Its methods are called by the bus's reader, in the order of arrival, and may wait, which
// is how load is pushed back; Gap may be called on another goroutine.
type PresenceInbox interface {
	// Diff hands over a diff of the presence service: the payload, and the JSON of its stamp.
	Diff(topic string, payload, stamp []byte)
	// Message hands over what came on the gateway's private subject; reply is nil where nobody asked.
	Message(body []byte, reply func([]byte))
	// Sync hands over an order to compare views.
	Sync(body []byte)
	// Gap says that messages may have been missed.
	Gap()
	// GapOf says that messages of one topic were dropped, after those that Diff has been given.
	GapOf(topic string)
}

// GatewayPresence is a gateway's bus as its presence tracker sees it. It implements [presence.TrackerBus].
type GatewayPresence struct {
	bus      *Bus
	subjects PresenceSubjects
}

var _ presence.TrackerBus = GatewayPresence{}

// Presence returns what a tracker needs of the bus.
func (b *Bus) Presence() GatewayPresence { return GatewayPresence{b, b.subjects.Presence()} }

// SetPresence makes the bus bring what concerns presence. Call it before Start.
func (b *Bus) SetPresence(inbox PresenceInbox) { b.presence = inbox }

// Available implements [presence.TrackerBus].
func (g GatewayPresence) Available() bool { return g.bus.Available() }

// Store implements [presence.TrackerBus]: one message to the bucket's stream (NATS ADR-8), which keeps one of each id within two minutes.
func (g GatewayPresence) Store(incarnation, entry, topic string, value []byte, id string, stored func(seq uint64, err error)) {
	h := natsgo.Header{}
	if value == nil {
		h = removal()
	}
	h["Nats-Msg-Id"] = []string{id}
	err := g.bus.request(g.subjects.Key(incarnation, entry, topic), h, value, storeTimeout, func(m *natsgo.Msg, err error) {
		if err != nil {
			stored(0, err)
			return
		}
		stored(readAck(m.Data))
	})
	if err != nil {
		stored(0, err)
	}
}

// readAck reads a stream's acknowledgement.
func readAck(body []byte) (seq uint64, err error) {
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(body, &ack); {
	case err != nil:
		return 0, err
	case ack.Error != nil:
		return 0, errors.New(ack.Error.Description)
	case ack.Seq == 0:
		return 0, errors.New("acknowledgement without a sequence")
	}
	return ack.Seq, nil
}

// Check implements [presence.TrackerBus].
func (g GatewayPresence) Check(partition int, message []byte) {
	_ = g.bus.publish(g.subjects.Check(partition), "", nil, message) // what is not answered is asked again
}

// Hello implements [presence.TrackerBus].
func (g GatewayPresence) Hello(message []byte) {
	_ = g.bus.publish(g.subjects.Hello(), "", nil, message)
}

// presenceSubjects is what a gateway subscribes to for presence.
func (b *Bus) presenceSubjects() []string {
	if b.presence == nil {
		return nil
	}
	s := b.subjects.Presence()
	return []string{s.Gateway(b.gatewayID), s.Sync()}
}

// presenceMessage hands over a message on one of those.
func (b *Bus) presenceMessage(m *natsgo.Msg) {
	if m.Subject == b.syncSubject {
		b.presence.Sync(m.Data)
		return
	}
	if m.Reply == "" {
		b.presence.Message(m.Data, nil)
		return
	}
	b.presence.Message(m.Data, func(answer []byte) {
		_ = b.publish(m.Reply, "", nil, answer) // who asked asks again
	})
}
