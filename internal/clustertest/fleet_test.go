package clustertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestOrderAcrossGateways: four publishers at once, clients of two gateways and two NATS backends. Whoever reads, at whichever gateway, sees each
// publisher's messages in their order, all of them, once.
func TestOrderAcrossGateways(t *testing.T) {
	t.Parallel()
	const perClient, perBackend = 2000, 2000
	url := phxtest.StartNATS(t)
	c := Start(t, Options{Gateways: 3, NATS: []string{url}})
	var readers, writers []*phxtest.Client
	for i := range c.Gateways {
		readers = append(readers, c.Dial(i, phxtest.Name(fmt.Sprint("reader", i))))
		readers[i].Join("room:a", struct{}{})
	}
	for i := range 2 {
		writers = append(writers, c.Dial(i, phxtest.Name(fmt.Sprint("writer", i))))
		writers[i].Join("room:a", struct{}{})
	}
	var publishing sync.WaitGroup
	defer publishing.Wait()
	for i, w := range writers {
		publishing.Go(func() {
			for n := range perClient {
				w.SendJSON([]any{nil, fmt.Sprint("r", n), "room:a", "new_msg", map[string]any{"from": fmt.Sprint("client", i), "n": n}})
			}
		})
	}
	for i := range 2 {
		nc := backend(t, url)
		publishing.Go(func() {
			for n := range perBackend {
				if err := nc.Publish("phx.topic.room.a", fmt.Appendf(nil, `{"event":"e","payload":{"from":"backend%d","n":%d}}`, i, n)); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	for i, r := range readers {
		next := map[string]int{}
		for range 2*perClient + 2*perBackend {
			m, err := phxtest.ParseMessage(r.Recv(phxtest.Patience()))
			var body struct {
				From string
				N    int
			}
			if err == nil {
				err = json.Unmarshal(m.Payload, &body)
			}
			if err != nil {
				t.Fatal(err)
			}
			if body.N != next[body.From] {
				t.Fatalf("reader %d: message %d of %s, want %d", i, body.N, body.From, next[body.From])
			}
			next[body.From]++
		}
		if next["client0"] != perClient || next["client1"] != perClient || next["backend0"] != perBackend || next["backend1"] != perBackend {
			t.Errorf("reader %d: %v", i, next)
		}
		r.Heartbeat()
		r.WantNothing(0)
	}
}

// TestGatewayKilled: its clients see the connection break, come to another gateway, and are reached again; those of the others notice nothing.
func TestGatewayKilled(t *testing.T) {
	t.Parallel()
	const clients = 10
	url := phxtest.StartNATS(t)
	c := Start(t, Options{Gateways: 2, NATS: []string{url}})
	fronts := []*front{startFront(t, c.Gateways[0].Addr), startFront(t, c.Gateways[1].Addr)}
	nc := backend(t, url)
	stays := phxtest.Dial(t, fronts[1].URL(), phxtest.Name("stays"))
	stays.Join("room:a", struct{}{})
	var moved []*phxtest.Client
	for i := range clients {
		moved = append(moved, phxtest.Dial(t, fronts[0].URL(), phxtest.Name(fmt.Sprint("moved", i))))
		moved[i].Join("room:a", struct{}{})
	}
	publish(t, nc, "phx.topic.room.a", `{"event":"before","payload":{}}`)
	for _, m := range append(moved, stays) {
		m.WantEvent("room:a", "before", `{}`)
	}
	fronts[0].Kill()
	for i, m := range moved {
		m.WantClosed(1006)
		moved[i] = phxtest.Dial(t, fronts[1].URL(), phxtest.Name(fmt.Sprint("again", i)))
		moved[i].Join("room:a", struct{}{})
	}
	publish(t, nc, "phx.topic.room.a", `{"event":"after","payload":{}}`)
	moved[0].WantEvent("room:a", "after", `{}`)
	for _, m := range append(moved[1:], stays) {
		m.WantEvent("room:a", "after", `{}`)
	}
	moved[0].Push("room:a", "typing", map[string]any{"who": "moved"})
	for _, m := range append(moved[1:], stays) {
		m.WantEvent("room:a", "typing", `{"who":"moved"}`)
	}
}

// TestHundredChannelsEnd: a socket that breaks leaves all its topics, and each is told once.
func TestHundredChannelsEnd(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	c := Start(t, Options{NATS: []string{url}})
	m := registerMetrics(t, c.Gateways[0])
	nc := backend(t, url)
	joined, left := listen(t, nc, "phx.joined.>"), listen(t, nc, "phx.left.>")
	client := c.Dial(0)
	for i := range 100 {
		client.Join(fmt.Sprintf("room:%d", i), struct{}{})
	}
	client.Kill()
	channels := map[string]bool{}
	for range 100 {
		msg, err := joined.NextMsg(phxtest.Patience())
		if err != nil {
			t.Fatalf("joined: %v", err)
		}
		channels[msg.Header.Get("Phx-Channel")] = true
	}
	for range 100 {
		msg, err := left.NextMsg(phxtest.Patience())
		if err != nil {
			t.Fatalf("left: %v", err)
		}
		channel := msg.Header.Get("Phx-Channel")
		if !channels[channel] || string(msg.Data) != `{"reason":"disconnected"}` {
			t.Errorf("left %s %s: known %v", channel, msg.Data, channels[channel])
		}
		delete(channels, channel)
	}
	if m.value(t, "phxgate.channels", "") != 0 || m.value(t, "phxgate.sockets", "") != 0 {
		t.Error("channels or sockets are left")
	}
	again := c.Dial(0) // the gateway goes on
	again.Join("room:0", struct{}{})
	again.Leave("room:0")
	// The gateway has one connection to NATS: a phx.left too many would be before this one.
	msg, err := left.NextMsg(phxtest.Patience())
	if err != nil {
		t.Fatalf("left: %v", err)
	}
	if msg.Subject != "phx.left.room.0" || string(msg.Data) != `{"reason":"left"}` {
		t.Errorf("a phx.left too many: %s %s", msg.Subject, msg.Data)
	}
}

// TestNATSCluster: gateways on the three servers of a cluster are one fleet.
func TestNATSCluster(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 3)
	urls := strings.Split(servers.URLs(), ",")
	c := Start(t, Options{Gateways: 3, NATS: urls, Config: func(cfg *gateway.Config) { cfg.GapSpread = 100 * time.Millisecond }})
	var clients []*phxtest.Client
	var backends []*natsgo.Conn
	for i, url := range urls {
		clients = append(clients, c.Dial(i, phxtest.Name(fmt.Sprint("client", i))))
		clients[i].Join("room:all", struct{}{})
		clients[i].Join(fmt.Sprintf("room:only%d", i), struct{}{})
		backends = append(backends, backend(t, url))
	}
	for _, client := range clients {
		rejoinUntilCalm(t, client)
	}
	// A server tells the others of subscriptions in their order: who knows of a gateway's second topic knows of its first.
	for i := range clients {
		for j, nc := range backends {
			WaitFor(t, fmt.Sprintf("server %d knows of gateway %d", j, i), func() bool {
				_, err := nc.Request(fmt.Sprintf("phx.topic.room.only%d", i), []byte(`{"event":"probe","payload":{}}`), phxtest.Scaled(20*time.Millisecond))
				return !errors.Is(err, natsgo.ErrNoResponders)
			})
		}
	}
	for j, nc := range backends {
		publish(t, nc, "phx.topic.room.all", fmt.Sprintf(`{"event":"e","payload":{"server":%d}}`, j))
		for _, client := range clients {
			client.WantUntil(fmt.Sprintf(`[null,null,"room:all","e",{"server":%d}]`, j))
		}
	}
	for i, sender := range clients {
		sender.Push("room:all", "typing", map[string]any{"client": i})
		for j, client := range clients {
			if j != i {
				client.WantUntil(fmt.Sprintf(`[null,null,"room:all","typing",{"client":%d}]`, i))
			}
		}
	}
}

// rejoinUntilCalm joins again what a client is told to, until nothing more comes for a while: on a busy machine a server of the cluster answers a gateway's probes too late for a join, and
// is made up for by a gap when it does.
func rejoinUntilCalm(t *testing.T, c *phxtest.Client) {
	t.Helper()
	for {
		f, err := c.TryRecv(phxtest.Scaled(500 * time.Millisecond))
		if errors.Is(err, phxtest.ErrTimeout) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if m, err := phxtest.ParseMessage(f); err == nil && m.Event == "phx_error" {
			c.Join(m.Topic, struct{}{})
		}
	}
}
