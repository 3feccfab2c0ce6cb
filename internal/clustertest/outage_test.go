package clustertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestNATSServerRestarts: one of three NATS servers stops and comes back. Clients of its gateway are told that they may have missed something, rejoin, and are reached
// again, on the sockets they had. Clients of the other gateways are told nothing.
func TestNATSServerRestarts(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 3)
	urls := strings.Split(servers.URLs(), ",")
	c := Start(t, Options{Gateways: 3, NATS: urls, Config: func(cfg *gateway.Config) { cfg.GapSpread = 200 * time.Millisecond }})
	var clients []*phxtest.Client
	for i := range c.Gateways {
		clients = append(clients, c.Dial(i, phxtest.Name(fmt.Sprint("client", i))))
		clients[i].Join("room:a", struct{}{})
	}
	reached(t, backend(t, urls[1]), "before", clients)

	servers.Stop(0)
	phxError := `["1","1","room:a","phx_error",{"reason":"channel_crash"}]`
	clients[0].WantUntil(phxError)
	servers.Restart(0)
	WaitFor(t, "the gateway is back at NATS", c.Gateways[0].Bus.Available)
	rejoin(t, clients[0])
	// Through the server that was away, and through one that was not.
	reached(t, backend(t, urls[0]), "after", clients)
	reached(t, backend(t, urls[2]), "later", clients)
	for i, sender := range clients {
		event := fmt.Sprint("from", i)
		sender.Push("room:a", "new_msg", map[string]any{"event": event})
		for _, client := range clients {
			client.WantUntil(fmt.Sprintf(`[null,null,"room:a","new_msg",{"event":%q}]`, event))
		}
		sender.Heartbeat()
	}
	for i, client := range clients {
		told := strings.Count(client.Log().String(), "phx_error")
		if want := map[int]int{0: 1}[i]; told != want {
			t.Errorf("client %d was told %d times, want %d:\n%s", i, told, want, client.Log())
		}
	}
}

// rejoin joins room:a as phoenix.js does: again, where the join fails because NATS is not there yet.
func rejoin(t *testing.T, client *phxtest.Client) {
	t.Helper()
	WaitFor(t, "the rejoin", func() bool {
		m := client.WantReply(client.StartJoin("room:a", struct{}{}), "")
		var response struct{ Reason string }
		if err := json.Unmarshal(m.Payload, &response); err != nil || m.Status != "ok" && response.Reason != "unavailable" {
			t.Fatalf("rejoin: %s %s", m.Status, m.Payload)
		}
		return m.Status == "ok"
	})
}

// reached publishes an event until every client has had it: servers of a cluster learn of each other's subscriptions in their own time.
func reached(t *testing.T, nc *natsgo.Conn, event string, clients []*phxtest.Client) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	defer func() { close(stop); <-stopped }()
	go func() {
		defer close(stopped)
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for {
			// An error shows as a client that is not reached.
			_ = nc.Publish("phx.topic.room.a", []byte(`{"event":"`+event+`","payload":{}}`))
			select {
			case <-again.C:
			case <-stop:
				return
			}
		}
	}()
	for _, client := range clients {
		client.WantUntil(fmt.Sprintf(`[null,null,"room:a",%q,{}]`, event))
	}
}
