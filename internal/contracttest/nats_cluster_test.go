package contracttest

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// startDocumentedCluster starts three servers with the configuration under
// "Clusters" in docs/nats.md: names and ports are changed for one machine.
func startDocumentedCluster(t *testing.T) (servers []*natsServer, urls string) {
	t.Helper()
	names := []string{"nats-a", "nats-b", "nats-c"}
	replace := []string{"listen: 0.0.0.0:4222", "", "127.0.0.1:8222", freeAddress(t)}
	ports := make([]string, len(names))
	for i, name := range names {
		_, port, err := net.SplitHostPort(freeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = port
		replace = append(replace, "nats://"+name+":6222", "nats://127.0.0.1:"+port)
	}
	text := strings.NewReplacer(replace...).Replace(documentedConfig(t, "Clusters"))
	var list []string
	for i, name := range names {
		// The monitoring port is the first server's alone on this machine.
		one := strings.NewReplacer("server_name: nats-a", "server_name: "+name, "listen: 0.0.0.0:6222", "listen: 127.0.0.1:"+ports[i]).Replace(text)
		if i > 0 {
			one = one[:strings.Index(one, "http:")] + one[strings.Index(one, "cluster"):]
		}
		s := startConfigured(t, one)
		servers = append(servers, s)
		list = append(list, s.url(""))
	}
	for _, s := range servers {
		waitFor(t, "routes", func() bool { return s.srv.NumRoutes() == (len(servers)-1)*(server.DEFAULT_ROUTE_POOL_SIZE+1) })
	}
	return servers, strings.Join(list, ",")
}

// gatewayID names the one gateway of a test among a server's connections.
const gatewayID = "g-under-test"

// holds reports whether a server has that gateway's main connection.
func (s *natsServer) holds() bool {
	s.t.Helper()
	conns, err := s.srv.Connz(&server.ConnzOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range conns.Conns {
		if c.Name == "phxgate-gateway/"+gatewayID {
			return true
		}
	}
	return false
}

// TestNATSServerDies: a gateway goes on at another server of the list, its
// sockets stay open, and channels are told of the gap. The same holds for a
// server that goes into lame duck mode.
func TestNATSServerDies(t *testing.T) {
	t.Parallel()
	servers, urls := startDocumentedCluster(t)
	g := startGateway(t, urls, everything, "GATEWAY_ID="+gatewayID, "GAP_SPREAD=100ms")
	c := g.dial(t)
	ref := c.StartJoin("room:1", struct{}{})
	c.WantReply(ref, "ok")
	for i, end := range []func(*server.Server){(*server.Server).Shutdown, (*server.Server).LameDuckShutdown} {
		var at *natsServer
		for _, s := range servers {
			if s.srv.Running() && s.holds() {
				at = s
			}
		}
		if at == nil {
			t.Fatal("no server has the gateway's connection")
		}
		end(at.srv)
		c.WantUntil(fmt.Sprintf(`[%q,%q,"room:1","phx_error",{"reason":"channel_crash"}]`, ref, ref))
		var now *natsServer
		waitFor(t, "another server", func() bool {
			for _, s := range servers {
				if s != at && s.srv.Running() && s.holds() {
					now = s
				}
			}
			return now != nil
		})
		ref = c.StartJoin("room:1", struct{}{})
		c.WantReply(ref, "ok")
		body := fmt.Sprintf(`{"n":%d}`, i)
		b := connectBackend(t, now.url(""))
		b.publish("phx.topic.room.1", body, "Phx-Event", "m")
		c.WantEvent("room:1", "m", body)
		b.nc.Close()
	}
	if status, body := g.readyz(); status != 200 {
		t.Errorf("readyz %d %q", status, body)
	}
}
