package clustertest

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestDrain: every socket is told 1012 and every channel's end is published as drained, once; the other gateway's are left alone.
func TestDrain(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, server, client *tls.Config) {
		t.Parallel()
		const sockets, topics = 20, 3
		url := phxtest.StartNATS(t)
		c := Start(t, Options{Gateways: 2, NATS: []string{url}, TLS: server})
		nc := backend(t, url)
		joined, left := listen(t, nc, "phx.joined.>"), listen(t, nc, "phx.left.>")
		var clients []*phxtest.Client
		channels := map[string]bool{}
		for i := range sockets {
			d := c.Dial(0, phxtest.Name(fmt.Sprint("drained", i)), phxtest.TLS(client))
			for n := range topics {
				d.Join(fmt.Sprintf("room:%d", n), struct{}{})
				msg, err := joined.NextMsg(phxtest.Patience())
				if err != nil {
					t.Fatalf("joined: %v", err)
				}
				channels[msg.Header.Get("Phx-Channel")] = true
			}
			clients = append(clients, d)
		}
		stays := c.Dial(1, phxtest.Name("stays"), phxtest.TLS(client))
		stays.Join("room:0", struct{}{})

		c.Gateways[0].Drain()
		if conn, err := net.Dial("tcp", c.Gateways[0].Addr); err == nil {
			_ = conn.Close()
			t.Error("a drained gateway still accepts")
		}
		for _, d := range clients {
			d.WantClosed(1012)
			d.WantEnded()
		}
		for range sockets * topics {
			msg, err := left.NextMsg(phxtest.Patience())
			if err != nil {
				t.Fatalf("left: %v; %d channels are missing", err, len(channels))
			}
			channel := msg.Header.Get("Phx-Channel")
			if !channels[channel] || string(msg.Data) != `{"reason":"drained"}` {
				t.Errorf("left %s %s: waited for %v", channel, msg.Data, channels[channel])
			}
			delete(channels, channel)
		}

		// What the other gateway says next is the next there is.
		publish(t, nc, "phx.topic.room.0", `{"event":"after","payload":{}}`)
		stays.WantEvent("room:0", "after", `{}`)
		stays.Leave("room:0")
		msg, err := left.NextMsg(phxtest.Patience())
		if err != nil {
			t.Fatalf("left: %v", err)
		}
		if string(msg.Data) != `{"reason":"left"}` {
			t.Errorf("a phx.left too many: %s %s", msg.Subject, msg.Data)
		}
	})
}
