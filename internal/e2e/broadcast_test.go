package e2e

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const broadcastRules = `
channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: numbered, do: broadcast, reply: true}
`

// TestBroadcasts publishes with nats.go to clients of every version on two gateways, which are connected to two servers of a NATS cluster: both forms
// arrive, and what one connection or one client publishes arrives in its order, while others publish too (docs/contract.md, "Order").
func TestBroadcasts(t *testing.T) {
	needNode(t)
	const (
		topic = "room:order"
		count = 1000
	)
	servers := phxtest.StartCluster(t, 2)
	fleet := clustertest.Start(t, clustertest.Options{
		Gateways: 2, NATS: []string{servers.URL(0), servers.URL(1)}, Rules: broadcastRules, Allow: true,
	})
	s := runScript(t, "broadcasts.mjs", map[string]any{
		"urls": []string{socketURL(fleet.Gateways[0].Addr), socketURL(fleet.Gateways[1].Addr)}, "clients": versions, "topic": topic, "count": count,
		"patience": phxtest.Patience().Milliseconds(),
	}, phxtest.Scaled(time.Minute))
	var joined struct{ Clients int }
	s.want("joined", &joined)
	if want := 2 * len(versions); joined.Clients != want {
		t.Fatalf("%d clients, want %d", joined.Clients, want)
	}

	nc := dialNATS(t, servers.URL(0))
	publish(t, nc, topic, "new_msg", map[string]string{"body": "in a header"}, inHeader)
	publish(t, nc, topic, "new_msg", map[string]string{"body": "in an envelope"}, inEnvelope)
	for range joined.Clients {
		var got struct {
			Client   string
			Payloads json.RawMessage
		}
		s.want("received", &got)
		if want := `[{"body":"in a header"},{"body":"in an envelope"}]`; string(got.Payloads) != want {
			t.Errorf("%s: got %s, want %s", got.Client, got.Payloads, want)
		}
	}

	s.want("ready", nil)
	stop := make(chan struct{})
	var others sync.WaitGroup
	for i := range 2 {
		other := dialNATS(t, servers.URL(i))
		others.Go(func() { publishUntil(t, other, topic, stop) })
	}
	for n := range count {
		publish(t, nc, topic, "numbered", map[string]any{"series": "backend", "n": n}, form(n%2 == 1))
	}
	for range joined.Clients {
		var got struct {
			Client string
			Other  int
		}
		s.want("ordered", &got)
		if got.Other == 0 {
			t.Errorf("%s: nobody else published meanwhile", got.Client)
		}
	}
	close(stop)
	others.Wait()
	s.wantOK("broadcasts")
	s.wantEnd()
}

// publishUntil publishes on the topic until stop is closed, a few at a time so that no client falls behind.
func publishUntil(t *testing.T, nc *nats.Conn, topic string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		publish(t, nc, topic, "numbered", map[string]any{"series": "other", "n": n}, inHeader)
		if flush(t, nc); t.Failed() {
			return
		}
	}
}
