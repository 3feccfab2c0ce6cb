package nats

import (
	"encoding/json"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
)

var _ gateway.Fleet = (*Bus)(nil)

// announcement is the JSON of a gateway's status on `<prefix>.fleet.gateway.<id>`. A reader ignores keys that it does not know, and takes those that are missing as zero.
type announcement struct {
	ID       string        `json:"id"`
	Version  string        `json:"version"`
	State    gateway.State `json:"state"`
	NATS     string        `json:"nats"`
	Sockets  int           `json:"sockets"`
	Channels int           `json:"channels"`
	Topics   int           `json:"topics"`
	LagMS    float64       `json:"lag_ms"`
}

// maxAnnouncement is more than any announcement of these programs; a larger one is none.
const maxAnnouncement = 4 << 10

// Announce implements [gateway.Fleet].
func (b *Bus) Announce(s *gateway.Status) error {
	server, _ := b.server.Load().(string)
	body, err := json.Marshal(announcement{
		ID: s.ID, Version: s.Version, State: s.State, NATS: server, Sockets: s.Sockets, Channels: s.Channels, Topics: s.Topics,
		LagMS: float64(s.Lag.Microseconds()) / 1000,
	})
	if err != nil {
		return err
	}
	return b.publish(b.subjects.Gateway(s.ID), "", nil, body)
}

// announced hands over what a gateway says of itself. What makes no sense is dropped and counted.
func (b *Bus) announced(m *natsgo.Msg) {
	s, ok := parseAnnouncement(m.Data)
	if !ok || m.Subject != b.subjects.Gateway(s.ID) {
		b.stats.Dropped[dropAnnouncement].Add(1)
		return
	}
	b.inbox.Announced(s)
}

// parseAnnouncement reads an announcement; false: it makes no sense.
func parseAnnouncement(body []byte) (*gateway.Status, bool) {
	var a announcement
	if len(body) > maxAnnouncement || json.Unmarshal(body, &a) != nil || a.ID == "" || a.Sockets < 0 || a.Channels < 0 || a.Topics < 0 || a.LagMS < 0 || a.LagMS > 1e9 {
		return nil, false
	}
	switch a.State {
	case gateway.Serving, gateway.Draining, gateway.Gone:
	default:
		return nil, false
	}
	return &gateway.Status{
		ID: a.ID, Version: a.Version, State: a.State, NATS: a.NATS, Sockets: a.Sockets, Channels: a.Channels, Topics: a.Topics,
		Lag: time.Duration(a.LagMS * float64(time.Millisecond)),
	}, true
}
