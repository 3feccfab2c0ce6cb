//go:build linux

package ceilings

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// gateway is one running program.
type gateway struct {
	addr, admin string // as it says that it listens
	cmd         *exec.Cmd
	stderr      *output
	ended       chan struct{} // closed when the process is gone
	client      *http.Client  // of the admin port; one connection for all
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// listens is the log line that names the addresses.
var listens = regexp.MustCompile(`msg="gateway listens" .*listen=(\S+) .*admin=(\S+)`)

// startGateway starts the program on free ports and waits until it is ready. The settings are NAME=value; CONNECT_AUTH is allow unless given.
func startGateway(t *testing.T, binary, natsURL, rules string, settings ...string) *gateway {
	t.Helper()
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gateway{cmd: exec.Command(binary), stderr: new(output), ended: make(chan struct{}), client: &http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{}}}
	// Of two settings of one name the last counts (os/exec).
	g.cmd.Env = append([]string{"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=127.0.0.1:0", "CHANNELS_FILE=" + file, "NATS_URL=" + natsURL, "CONNECT_AUTH=allow"}, settings...)
	g.cmd.Stderr, g.cmd.Stdout = g.stderr, g.stderr
	if err := g.cmd.Start(); err != nil {
		t.Fatalf("start gateway: %v", err)
	}
	go func() {
		defer close(g.ended)
		_ = g.cmd.Wait() // it is killed in the end, or has ended by itself, which mustLive reports
	}()
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill() // it may be gone already
		<-g.ended
		g.client.CloseIdleConnections()
		if text := g.stderr.String(); t.Failed() {
			t.Logf("gateway's standard error, the last of it:\n%s", text[max(0, len(text)-3000):])
		}
	})
	waitFor(t, "the gateway's addresses", func() bool {
		g.mustLive(t)
		m := listens.FindStringSubmatch(g.stderr.String())
		if m != nil {
			g.addr, g.admin = m[1], m[2]
		}
		return m != nil
	})
	waitFor(t, "readyz", func() bool {
		g.mustLive(t)
		status, _ := g.get("/readyz")
		return status == http.StatusOK
	})
	return g
}

// mustLive fails if the process is gone.
func (g *gateway) mustLive(t *testing.T) {
	t.Helper()
	select {
	case <-g.ended:
		t.Fatalf("gateway ended: %v\n%s", g.cmd.ProcessState, g.stderr)
	default:
	}
}

// waitFor polls until done says so, at most for four times the patience.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(4 * phxtest.Patience())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, 4*phxtest.Patience())
		}
		<-tick.C
	}
}
