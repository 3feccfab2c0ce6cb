package contracttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// gateway is one running program.
type gateway struct {
	t      *testing.T
	addr   string // LISTEN
	admin  string // ADMIN_LISTEN
	rules  string // path of CHANNELS_FILE
	binary string
	cmd    *exec.Cmd
	stderr *output
	ended  chan struct{} // closed when the process is gone and cmd.ProcessState is set
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

// startGateway starts the program and waits until it is ready. The settings
// are NAME=value; LISTEN, ADMIN_LISTEN and CHANNELS_FILE are set here, and
// CONNECT_AUTH is allow unless given.
func startGateway(t *testing.T, natsURL, rules string, settings ...string) *gateway {
	t.Helper()
	g := launchGateway(t, natsURL, rules, settings...)
	g.waitForReady(http.StatusOK)
	return g
}

// launchGateway is startGateway without the wait. A process that lives when
// the test ends is killed.
func launchGateway(t *testing.T, natsURL, rules string, settings ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, binary: gatewayBinary, rules: writeFile(t, "channels.yaml", rules)}
	g.addr, g.admin = freeAddress(t), freeAddress(t)
	g.start(append([]string{"NATS_URL=" + natsURL, "CONNECT_AUTH=allow"}, settings...))
	return g
}

func (g *gateway) start(settings []string) {
	g.t.Helper()
	g.stderr, g.ended = new(output), make(chan struct{})
	g.cmd = exec.Command(g.binary)
	// Of two settings of one name the last counts (os/exec).
	g.cmd.Env = append(baseEnv(), "LISTEN="+g.addr, "ADMIN_LISTEN="+g.admin, "CHANNELS_FILE="+g.rules)
	g.cmd.Env = append(g.cmd.Env, settings...)
	g.cmd.Stderr, g.cmd.Stdout = g.stderr, g.stderr
	if err := g.cmd.Start(); err != nil {
		g.t.Fatalf("start gateway: %v", err)
	}
	go func() {
		defer close(g.ended)
		_ = g.cmd.Wait() // the status is in ProcessState
	}()
	g.t.Cleanup(func() {
		_ = g.cmd.Process.Kill() // it may be gone already
		<-g.ended
		if text := g.stderr.String(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
			g.t.Errorf("gateway's standard error:\n%s", text)
		} else if g.t.Failed() {
			g.t.Logf("gateway's standard error, the last of it:\n%s", text[max(0, len(text)-4000):])
		}
	})
}

// baseEnv is all that a process gets beside its settings.
func baseEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GORACE=exitcode=66 atexit_sleep_ms=0"}
}

// given are the addresses that freeAddress gave out: a server that is being
// restarted does not listen on its own, and must find it free.
var given sync.Map

// freeAddress is an address of 127.0.0.1 that nobody listens on or was given,
// out of the range of ports that outgoing connections take.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))
		if _, taken := given.LoadOrStore(address, true); taken {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// get is one GET on a connection of its own; status 0 means that nobody
// answered.
func get(url string) (status int, body string) {
	client := http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, err.Error()
	}
	return response.StatusCode, string(text)
}

func (g *gateway) readyz() (int, string) { return get("http://" + g.admin + "/readyz") }

func (g *gateway) waitForReady(status int) {
	g.t.Helper()
	waitFor(g.t, fmt.Sprintf("readyz %d", status), func() bool {
		select {
		case <-g.ended:
			g.t.Fatalf("gateway ended: %v\n%s", g.cmd.ProcessState, g.stderr)
		default:
		}
		got, _ := g.readyz()
		return got == status
	})
}

// waitFor polls until done says so, at most for twice the patience.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * phxtest.Patience())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, 2*phxtest.Patience())
		}
		<-tick.C
	}
}

func (g *gateway) signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatalf("signal %v: %v", s, err)
	}
}

// wantExit wants the process to end by itself within d and returns its status.
func (g *gateway) wantExit(d time.Duration) int {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-g.ended:
	case <-ctx.Done():
		g.t.Fatalf("gateway still runs after %v", d)
	}
	return g.cmd.ProcessState.ExitCode()
}

func (g *gateway) url(query string) string {
	return "ws://" + g.addr + "/socket/websocket?" + query
}

// dial opens a V2 client, dialV1 a V1 client that names no version.
func (g *gateway) dial(t *testing.T, opts ...phxtest.Option) *phxtest.Client {
	t.Helper()
	return phxtest.Dial(t, g.url("vsn=2.0.0"), opts...)
}

func (g *gateway) dialV1(t *testing.T, opts ...phxtest.Option) *phxtest.Client {
	t.Helper()
	return phxtest.Dial(t, g.url(""), opts...)
}
