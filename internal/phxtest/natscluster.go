package phxtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster is a NATS cluster inside the test process. Its methods belong to
// the test's goroutine.
type Cluster struct {
	t       testing.TB
	options []*server.Options
	servers []*server.Server // nil: stopped
}

// StartCluster runs n NATS servers with JetStream on 127.0.0.1, in one
// cluster (a single one stands alone), and returns when every route is up. They
// stop when the test ends.
func StartCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, servers: make([]*server.Server, n)}
	ports := freePorts(t, 2*n)
	var routes []string
	for i := range n {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[n+i]))
	}
	for i := range n {
		o := serverOptions(t)
		o.Port = ports[i]
		o.ServerName = "n" + strconv.Itoa(i)
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "phxtest", Host: "127.0.0.1", Port: ports[n+i]}
			o.Routes = routeURLs(t, routes)
		}
		c.options = append(c.options, o)
	}
	for i := range n {
		c.servers[i] = startServer(t, c.options[i].Clone())
	}
	c.WaitForRoutes()
	return c
}

func routeURLs(t testing.TB, routes []string) []*url.URL {
	t.Helper()
	urls := make([]*url.URL, len(routes))
	for i, route := range routes {
		u, err := url.Parse(route)
		if err != nil {
			t.Fatalf("route: %v", err)
		}
		urls[i] = u
	}
	return urls
}

// freePorts returns ports below the range that outgoing connections take
// theirs from, so that a stopped server finds its port free again.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for tries := 0; len(ports) < n && tries < 1000; tries++ {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close() // all at once, so that none is given twice
		ports = append(ports, port)
	}
	if len(ports) < n {
		t.Fatal("no free ports")
	}
	return ports
}

// URL is the client URL of server i, also while it is stopped.
func (c *Cluster) URL(i int) string {
	return fmt.Sprintf("nats://127.0.0.1:%d", c.options[i].Port)
}

// URLs is the client URLs of all servers, separated by commas, for NATS_URL.
func (c *Cluster) URLs() string {
	var urls []string
	for i := range c.options {
		urls = append(urls, c.URL(i))
	}
	return strings.Join(urls, ",")
}

// Stop shuts server i down and returns when it is gone. Its clients are
// disconnected; what it stored stays.
func (c *Cluster) Stop(i int) {
	if s := c.servers[i]; s != nil {
		stopServer(s)
		c.servers[i] = nil
	}
}

// Restart stops server i if it runs and starts it on the same ports with the
// same store. It returns when the routes between the running servers are up.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.Stop(i)
	c.servers[i] = startServer(c.t, c.options[i].Clone())
	c.WaitForRoutes()
}

// WaitForRoutes waits until each two running servers are connected by all
// their routes: the pool and the system account's own.
func (c *Cluster) WaitForRoutes() {
	c.t.Helper()
	running := c.running()
	want := (len(running) - 1) * (server.DEFAULT_ROUTE_POOL_SIZE + 1)
	ready := waitUntil(4*Patience(), func() bool {
		for _, s := range running {
			if s.NumRoutes() != want {
				return false
			}
		}
		return true
	})
	if !ready {
		for _, s := range running {
			c.t.Logf("NATS server %s: %d routes, want %d", s.Name(), s.NumRoutes(), want)
		}
		c.t.Fatal("NATS cluster: routes are missing")
	}
}

// WaitForJetStream waits until JetStream of the cluster has a leader and the
// other running servers follow it.
func (c *Cluster) WaitForJetStream() {
	c.t.Helper()
	running := c.running()
	if len(c.options) == 1 {
		return // there is nothing to elect
	}
	ready := waitUntil(6*Patience(), func() bool {
		leaders := 0
		for _, s := range running {
			if s.JetStreamIsLeader() {
				leaders++
			}
			if !s.JetStreamIsCurrent() {
				return false
			}
		}
		return leaders == 1
	})
	if !ready {
		c.t.Fatal("NATS cluster: JetStream has no leader")
	}
}

func (c *Cluster) running() []*server.Server {
	var running []*server.Server
	for _, s := range c.servers {
		if s != nil {
			running = append(running, s)
		}
	}
	return running
}
