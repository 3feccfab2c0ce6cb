package clustertest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// smallWindow dials with a receive buffer so small that a client that does not read is noticed soon.
func smallWindow(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		err = conn.(*net.TCPConn).SetReadBuffer(4096)
	}
	return conn, err
}

// TestSlowClient: 1,000 broadcasts of 16 KiB to a client that reads and one that does not, while a third of another topic is served as ever. It is alone in the process, since it looks at memory.
func TestSlowClient(t *testing.T) {
	overBoth(t, func(t *testing.T, server, client *tls.Config) {
		url := phxtest.StartNATS(t)
		c := Start(t, Options{NATS: []string{url}, TLS: server, Config: func(cfg *gateway.Config) { cfg.OutboundBytes = 256 << 10 }})
		m := registerMetrics(t, c.Gateways[0])
		nc := backend(t, url)
		slow := c.Dial(0, phxtest.Name("slow"), phxtest.TLS(client), phxtest.NetDial(smallWindow))
		healthy := c.Dial(0, phxtest.Name("healthy"), phxtest.TLS(client))
		other := c.Dial(0, phxtest.Name("other"), phxtest.TLS(client))
		other.Join("room:b", struct{}{})
		slow.Join("room:a", struct{}{})
		healthy.Join("room:a", struct{}{})
		slow.Pause()

		const total, window = 1000, 4
		padding := strings.Repeat("x", 16<<10)
		before := heap()
		for i := range total + window {
			if i < total {
				publish(t, nc, "phx.topic.room.a", fmt.Sprintf(`{"event":"e","payload":{"n":%d,"x":"%s"}}`, i, padding))
			}
			if n := i - window; n >= 0 {
				f := healthy.Recv(phxtest.Patience())
				if want := fmt.Sprintf(`[null,null,"room:a","e",{"n":%d,"x":"%s"}]`, n, padding); string(f.Data) != want {
					t.Fatalf("broadcast %d: got %v", n, f)
				}
			}
			if i%10 == 0 {
				began := time.Now()
				other.Heartbeat()
				if took := time.Since(began); took > phxtest.Scaled(200*time.Millisecond) {
					t.Errorf("a heartbeat beside broadcast %d took %v", i, took)
				}
			}
		}
		if m.value(t, "phxgate.sockets.ended", "slow") != 1 {
			t.Error("the client that does not read was not aborted")
		}
		if grown := int64(heap()) - int64(before); grown > 8<<20 {
			t.Errorf("16 MiB of broadcasts left %d bytes in memory", grown)
		}
		healthy.Heartbeat()
		slow.Kill()
		WaitFor(t, "the slow client's socket and channel are gone", func() bool {
			return m.value(t, "phxgate.connections", "") == 2 && m.value(t, "phxgate.channels", "") == 2
		})
	})
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
