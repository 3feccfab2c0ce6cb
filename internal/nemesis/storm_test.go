package nemesis

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const stormRules = `channels:
  - topic: "room:*"
`

// TestStorm kills a gateway that ten thousand sockets are connected to, and starts another in its place that has limits: all come back at once, and again and again as phoenix.js does.
// The authz service sees a flat line within the limits, and everybody is let in at last.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const upgrades, joins = 500, 500 // in a second
	clients := int(setting(t, "STORM_CLIENTS", 10_000))
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(clients)+1000 {
		t.Skipf("%d descriptors (%v): not enough for %d clients", limit.Cur, err, clients)
	}
	built := builtPrograms()
	if built.err != nil {
		t.Fatal(built.err)
	}
	starter := newStarter(t)
	url := startNATS(t, built, starter)
	authz := startCalls(t, url, false)
	g := newLone(t, built, starter, url, stormRules)
	g.begin("CONNECT_AUTH=authz")
	vs := &visitors{addr: g.addr}
	begun := time.Now()
	vs.begin(clients, func(n int) (string, []int) { return "", []int{n % 500} })
	t.Cleanup(vs.end)
	waitUntil(t, "everybody is joined", 6*startLimit(), func() bool { return vs.missing() == 0 })
	t.Logf("without limits: %d clients are joined within %v", clients, time.Since(begun).Round(time.Millisecond))
	authz.take()

	g.process.kill()
	waitUntil(t, "nobody is joined", startLimit(), func() bool { return vs.missing() == clients })
	g.begin("CONNECT_AUTH=authz", fmt.Sprint("GATEWAY_UPGRADES_PER_SECOND=", upgrades), fmt.Sprint("GATEWAY_JOINS_PER_SECOND=", joins))
	begun = time.Now()
	waiting, joinsWaiting, cpu := 0, 0, 0.0
	waitUntil(t, "everybody is joined again", 6*startLimit(), func() bool {
		m := g.metrics()
		waiting, joinsWaiting, cpu = max(waiting, int(m.value("phxgate_handshakes_waiting"))), max(joinsWaiting, int(m.value("phxgate_joins_waiting"))), m.value("process_cpu_seconds_total")
		return vs.missing() == 0
	})
	took := time.Since(begun)
	connectsAt, joinsAt := authz.take()
	m := g.metrics()
	t.Logf("with limits of %d upgrades and %d joins a second: all are joined again within %v; %d handshakes were refused (503), at most %d held at once, %d joins waited at once, %d refused; %.1f s of CPU, %.0f MB",
		upgrades, joins, took.Round(time.Millisecond), vs.refusals.Load(), waiting, joinsWaiting, vs.joinErrors.Load(), cpu, m.value("process_resident_memory_bytes")/1e6)
	for _, seen := range []struct {
		what  string
		at    []time.Time
		limit float64
	}{{"connects", connectsAt, upgrades}, {"joins", joinsAt, joins}} {
		second, five := most(seen.at, time.Second), most(seen.at, 5*time.Second)
		t.Logf("authz: %d %s over %v: at most %.0f in a second, %.0f a second over five; limit %.0f", len(seen.at), seen.what, span(seen.at).Round(time.Millisecond), second, five, seen.limit)
		// What a busy machine is late with comes together.
		if second > 1.25*seen.limit || five > 1.05*seen.limit {
			t.Errorf("authz: %.0f %s in a second, %.0f over five; want at most %.0f", second, seen.what, five, seen.limit)
		}
		if len(seen.at) < clients {
			t.Errorf("%d %s of %d clients", len(seen.at), seen.what, clients)
		}
	}
	if waiting == 0 || vs.refusals.Load() == 0 {
		t.Errorf("at most %d held, %d refused: there was no storm", waiting, vs.refusals.Load())
	}
}

// startNATS runs one NATS server as a process.
func startNATS(t *testing.T, built programs, starter *starter) (url string) {
	t.Helper()
	addr := local(freePorts(t, 1)[0])
	p := newProcess(t, starter, "NATS server")
	_, port, _ := strings.Cut(addr, ":")
	p.start(built.natsd, []string{"-port", port, "-store", t.TempDir()})
	waitUntil(t, "the NATS server listens", startLimit(), func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "nats://" + addr
}

// lone is one gateway without a fleet.
type lone struct {
	t           *testing.T
	built       programs
	process     *process
	natsURL     string
	rules       string
	addr, admin string
}

func newLone(t *testing.T, built programs, starter *starter, natsURL, rules string) *lone {
	t.Helper()
	g := &lone{t: t, built: built, natsURL: natsURL, rules: filepath.Join(t.TempDir(), "channels.yaml")}
	if err := os.WriteFile(g.rules, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 2)
	g.addr, g.admin = local(ports[0]), local(ports[1])
	g.process = newProcess(t, starter, "gateway")
	return g
}

// begin starts it and waits until it is ready.
func (g *lone) begin(settings ...string) {
	g.t.Helper()
	g.process.start(g.built.gateway, nil, append([]string{"LISTEN=" + g.addr, "ADMIN_LISTEN=" + g.admin, "CHANNELS_FILE=" + g.rules, "NATS_URL=" + g.natsURL}, settings...)...)
	waitUntil(g.t, "the gateway is ready", startLimit(), func() bool { status, _ := g.get("/readyz"); return status == http.StatusOK })
}

func (g *lone) get(path string) (status int, body []byte) {
	client := http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + g.admin + path)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, _ = io.ReadAll(resp.Body) // what is missing is missed by who reads it
	return resp.StatusCode, body
}

// metrics are what a gateway's /metrics said.
type metrics []byte

func (g *lone) metrics() metrics {
	_, body := g.get("/metrics")
	return bytes.Clone(body)
}

// value is a sample's, 0 if there is none.
func (m metrics) value(sample string) float64 {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(sample) + ` (\S+)$`).FindSubmatch(m)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(string(found[1]), 64)
	return n
}
