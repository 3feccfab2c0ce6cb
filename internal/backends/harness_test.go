package backends

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// rules hand everything in room:* to a backend; `cast` is a cast, `free…` is concurrent.
const rules = `
channels:
  - topic: "room:*"
    join: authz
    events:
      - {event: cast, do: cast}
      - {event: "free*", do: call, concurrent: true}
      - {event: "*", do: call}
  - topic: "open:*"
    join: allow
    events:
      - {event: "*", do: call}
`

// arena is a NATS server, a gateway as a process, and a connection for backends.
type arena struct {
	t    testing.TB
	nc   *nats.Conn
	url  string // of NATS
	addr string // of the gateway's clients
	pid  int    // of the gateway
}

// start starts an arena that ends with the test.
func start(t testing.TB, settings ...string) *arena {
	t.Helper()
	a := &arena{t: t, url: phxtest.StartNATS(t), addr: freeAddress(t)}
	admin := freeAddress(t)
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer // not to be read before the process has ended
	cmd := exec.Command(gatewayBinary)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "NATS_URL=" + a.url, "CHANNELS_FILE=" + file, "LISTEN=" + a.addr, "ADMIN_LISTEN=" + admin}, settings...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("gateway: %v\n%s", err, output.String())
		}
	})
	client := http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}
	waitFor(t, "the gateway", func() bool {
		response, err := client.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	a.nc = a.connect()
	return a
}

func (a *arena) connect() *nats.Conn {
	a.t.Helper()
	nc, err := nats.Connect(a.url)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(nc.Close)
	return nc
}

// serve runs a backend on a connection of its own until stop is called or the test ends.
func (a *arena) serve(options backend.Options, register func(*backend.Backend)) (stop func()) {
	a.t.Helper()
	options.Log = slog.New(slog.NewTextHandler(a.t.Output(), nil))
	b, err := backend.New(a.connect(), options)
	if err != nil {
		a.t.Fatal(err)
	}
	register(b)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }()
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			a.t.Errorf("serve: %v", err)
		}
	}
	a.t.Cleanup(stop)
	select {
	case <-b.Ready():
	case <-time.After(phxtest.Patience()):
		a.t.Fatal("the backend is not ready")
	}
	return stop
}

// dial opens a client; params are a query, such as "name=ann".
func (a *arena) dial(t *testing.T, params string) *phxtest.Client {
	t.Helper()
	return phxtest.Dial(t, a.socketURL()+"&"+params)
}

func (a *arena) socketURL() string { return "ws://" + a.addr + "/socket/websocket?vsn=2.0.0" }

// waitFor polls until done says so.
func waitFor(t testing.TB, what string, done func() bool) {
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

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
