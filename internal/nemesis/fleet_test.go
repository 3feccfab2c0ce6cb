package nemesis

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	serverCount  = 3 // of NATS
	gatewayCount = 3
)

// gapSpread is the gateways' GAP_SPREAD.
const gapSpread = time.Second

const channelRules = `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: n, do: broadcast, reply: true}
`

// fleet is everything that can be broken: NATS servers, gateways, and a link from every gateway to every server.
type fleet struct {
	t        *testing.T
	built    programs
	servers  [serverCount]*process
	gateways [gatewayCount]*process
	links    [gatewayCount][serverCount]*proxy

	clientPorts, routePorts [serverCount]int
	addrs, adminAddrs       [gatewayCount]string
	stores                  [serverCount]string
	rules                   string
	settings                []string // of gateways, beside their own
	services                []*process
	serviceLinks            [][serverCount]*proxy
	serviceAdmins           []string
	lives                   [gatewayCount]int // a gateway's id must be new for each start
	routes                  string
	admin                   http.Client
	starter                 *starter
	floods                  []func(stop <-chan struct{}) // send more than a gateway's inbox holds
}

// startFleet builds and starts everything and waits until the gateways are ready. It all ends with the test.
func startFleet(t *testing.T, channelRules string, settings ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, built: builtPrograms(), rules: filepath.Join(t.TempDir(), "channels.yaml"), settings: settings}
	if f.built.err != nil {
		t.Fatal(f.built.err)
	}
	if err := os.WriteFile(f.rules, []byte(channelRules), 0o600); err != nil {
		t.Fatal(err)
	}
	f.admin = http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ports := freePorts(t, 2*serverCount+2*gatewayCount)
	var routes []string
	for i := range serverCount {
		f.clientPorts[i], f.routePorts[i], f.stores[i] = ports[2*i], ports[2*i+1], t.TempDir()
		routes = append(routes, "nats://"+local(f.routePorts[i]))
	}
	f.routes = strings.Join(routes, ",")
	starter := newStarter(t)
	f.starter = starter
	for i := range serverCount {
		f.servers[i] = newProcess(t, starter, fmt.Sprintf("NATS server %d", i))
		f.startServer(i)
	}
	for i := range serverCount {
		waitUntil(t, f.servers[i].name+" listens", startLimit(), func() bool { return f.listens(i) })
	}
	for i := range gatewayCount {
		f.addrs[i], f.adminAddrs[i] = local(ports[2*serverCount+2*i]), local(ports[2*serverCount+2*i+1])
		for s := range serverCount {
			f.links[i][s] = newProxy(t, local(f.clientPorts[s]))
		}
		f.gateways[i] = newProcess(t, starter, fmt.Sprintf("gateway %d", i))
		f.startGateway(i)
	}
	for i := range gatewayCount {
		waitUntil(t, fmt.Sprintf("gateway %d is ready", i), startLimit(), func() bool { return f.ready(i) })
	}
	return f
}

// startServer starts a NATS server, on its ports and with its store.
func (f *fleet) startServer(i int) {
	f.servers[i].start(f.built.natsd, []string{
		"-name", fmt.Sprintf("n%d", i), "-port", fmt.Sprint(f.clientPorts[i]), "-cluster", fmt.Sprint(f.routePorts[i]), "-routes", f.routes, "-store", f.stores[i],
	})
}

// startGateway starts a gateway that knows every NATS server by its own links.
func (f *fleet) startGateway(i int) {
	f.lives[i]++
	f.gateways[i].start(f.built.gateway, nil, append([]string{"LISTEN=" + f.addrs[i], "ADMIN_LISTEN=" + f.adminAddrs[i], "CHANNELS_FILE=" + f.rules, "CONNECT_AUTH=allow",
		"GAP_SPREAD=" + gapSpread.String(), "NATS_URL=" + f.gatewayURL(i), fmt.Sprintf("GATEWAY_ID=g%d-%d", i, f.lives[i])}, f.settings...)...)
}

func (f *fleet) gatewayURL(i int) string {
	var urls []string
	for _, link := range f.links[i] {
		urls = append(urls, "nats://"+link.addr())
	}
	return strings.Join(urls, ",")
}

func (f *fleet) serverURL(i int) string { return "nats://" + local(f.clientPorts[i]) }

// listens reports whether a NATS server takes connections.
func (f *fleet) listens(i int) bool {
	conn, err := net.Dial("tcp", local(f.clientPorts[i]))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// ready reports whether a gateway says that it is.
func (f *fleet) ready(i int) bool {
	resp, err := f.admin.Get("http://" + f.adminAddrs[i] + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// wantAlive fails the test if a process has ended by itself.
func (f *fleet) wantAlive() {
	f.t.Helper()
	for _, p := range append(append(f.servers[:], f.gateways[:]...), f.services...) {
		p.signal(syscall.Signal(0))
	}
}

// freePorts returns ports that nobody listens on, below the range that outgoing connections take theirs from: a process that is started again finds its own free.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		ln, err := net.Listen("tcp", local(port))
		if err != nil {
			continue
		}
		defer ln.Close() // all at once, so that none is given twice
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no free ports")
	return nil
}

// local is the address of a port of this machine.
func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// waitUntil polls until done says so and fails the test if it does not within limit.
func waitUntil(t *testing.T, what string, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-poll.C
	}
}
