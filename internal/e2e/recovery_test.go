package e2e

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/balancer"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const recoveryRules = `
channels:
  - topic: "room:*"
    join: authz
`

// TestRecovery ends the gateway that serves a client, once by SIGKILL and once by SIGTERM. The client finds another one by itself, joins its channels
// again, and misses nothing that is published from then on.
func TestRecovery(t *testing.T) {
	needNode(t)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { testRecovery(t, version) })
	}
}

func testRecovery(t *testing.T, version string) {
	url := phxtest.StartNATS(t)
	startService(t, url, "phx")
	backend := dialNATS(t, url)
	f := startFleet(t, url, recoveryRules)
	topics := []string{"room:one", "room:two"}
	ends := []struct {
		signal syscall.Signal
		code   int // the client's close code
		status int // the process's
	}{
		{syscall.SIGKILL, 1006, -1}, // RFC 6455 §7.1.5: no close frame came
		{syscall.SIGTERM, 1012, 0},
	}
	type round struct {
		Code int `json:"code"`
	}
	var rounds []round
	for _, end := range ends {
		rounds = append(rounds, round{end.code})
	}
	s := runScript(t, "recovery.mjs", map[string]any{
		"client": version, "url": socketURL(f.addr), "topics": topics, "rounds": rounds, "patience": phxtest.Patience().Milliseconds(),
	}, phxtest.Scaled(time.Minute))
	var on, moved struct{ Gateway string }
	s.want("joined", &on)
	for i, end := range ends {
		p := f.members[on.Gateway]
		if p == nil {
			t.Fatalf("joined on %q, which is none of the fleet", on.Gateway)
		}
		p.signal(end.signal)
		s.want("closed", nil)
		s.want("rejoined", &moved)
		if moved.Gateway == on.Gateway || f.members[moved.Gateway] == nil {
			t.Errorf("%v: moved from %q to %q", end.signal, on.Gateway, moved.Gateway)
		}
		for _, topic := range topics {
			publish(t, backend, topic, "new_msg", map[string]int{"round": i}, inHeader)
		}
		flush(t, backend)
		s.want("received", nil)
		p.wantEnd(end.status)
		f.replace(on.Gateway)
		on = moved
	}
	s.wantOK("recovered")
	s.wantEnd()
}

// fleet is two gateways, processes of their own, behind a balancer.
type fleet struct {
	t        *testing.T
	addr     string // the balancer's
	settings []string
	members  map[string]*process // by gateway id
	ports    map[string]int      // by gateway id: the clients' port; the one above is the admin's
}

func startFleet(t *testing.T, natsURL, rules string, settings ...string) *fleet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		t: t, settings: append(settings, "NATS_URL="+natsURL, "CHANNELS_FILE="+file),
		members: make(map[string]*process), ports: make(map[string]int),
	}
	var backends []string
	for _, id := range []string{"red", "blue"} {
		port := freePorts(t, 2)
		backends = append(backends, local(port))
		f.start(id, port)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- balancer.New(backends, nil).Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("balancer: %v", err)
		}
	})
	return f
}

// start starts a gateway and waits until it is ready.
func (f *fleet) start(id string, port int) {
	f.t.Helper()
	f.members[id] = startProcess(f.t, nil, append(f.settings, "GATEWAY_ID="+id, "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+1))...)
	f.ports[id] = port
	waitForOK(f.t, "http://"+local(port+1)+"/readyz")
}

// replace starts another gateway where one has ended, under a new id as every start has.
func (f *fleet) replace(id string) {
	f.t.Helper()
	port := f.ports[id]
	delete(f.members, id)
	delete(f.ports, id)
	f.start(id+"-again", port)
}
