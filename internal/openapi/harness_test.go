package openapi

import (
	"bytes"
	"fmt"
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

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const token = "a-token-of-the-tests-0123456789"

// rules let everybody join, and track who gives a name.
const rules = `
channels:
  - topic: "room:*"
    join: allow
    presence: {key: params.name}
`

// arena is a gateway as a process, with its API open to token.
type arena struct {
	t    testing.TB
	addr string // of the gateway's clients
	log  *output
	proc *os.Process
	door
}

// start starts a gateway on a NATS server, with more settings.
func start(t testing.TB, doc *document, natsURL string, settings ...string) *arena {
	t.Helper()
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &arena{t: t, addr: freeAddress(t), door: door{t: t, doc: doc, admin: freeAddress(t), token: token}}
	all := []string{"CHANNELS_FILE=" + file, "LISTEN=" + a.addr, "CONNECT_AUTH=allow"}
	if !strings.Contains(strings.Join(settings, " "), "API_TOKEN_FILE=") {
		all = append(all, "API_TOKEN="+token)
	}
	a.log, a.proc = run(t, gatewayBinary, natsURL, a.admin, append(all, settings...)...)
	return a
}

// run runs a program until the test ends, if it has not ended before, and returns when it is ready.
func run(t testing.TB, binary, natsURL, admin string, settings ...string) (*output, *os.Process) {
	t.Helper()
	log := &output{}
	cmd := exec.Command(binary)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "NATS_URL=" + natsURL, "ADMIN_LISTEN=" + admin}, settings...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("%s: %v\n%s", filepath.Base(binary), err, log)
		}
	})
	client := http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}
	waitFor(t, filepath.Base(binary), func() bool {
		response, err := client.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return log, cmd.Process
}

func (a *arena) dial(query string) *phxtest.Client {
	a.t.Helper()
	return phxtest.Dial(a.t, "ws://"+a.addr+"/socket/websocket?vsn=2.0.0&"+query)
}

// output is what a program wrote.
type output struct {
	mu  sync.Mutex
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

// startServer starts a NATS server that the test may stop, with a user for each of permissions, whose password is the name.
func startServer(t testing.TB, permissions map[string]*server.Permissions) *server.Server {
	t.Helper()
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()}
	for name, p := range permissions {
		options.Users = append(options.Users, &server.User{Username: name, Password: name, Permissions: p})
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(2 * phxtest.Patience()) {
		t.Fatal("the NATS server is not ready")
	}
	return s
}

// listener is a NATS connection with a subscription.
type listener struct {
	t        testing.TB
	nc       *nats.Conn
	messages chan *nats.Msg
	skip     string // next leaves out subjects that begin with it; "": none
}

func listen(t testing.TB, url, subject string) *listener {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	l := &listener{t: t, nc: nc, messages: make(chan *nats.Msg, 4096)}
	if _, err := nc.ChanSubscribe(subject, l.messages); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *listener) next() *nats.Msg {
	l.t.Helper()
	late := time.After(phxtest.Patience())
	for {
		select {
		case m := <-l.messages:
			if l.skip == "" || !strings.HasPrefix(m.Subject, l.skip) {
				return m
			}
		case <-late:
			l.t.Fatal("nothing comes")
			return nil
		}
	}
}

// answerPresence stands in for the presence service, for answers that the real one cannot be brought to give; "" is none.
func answerPresence(t testing.TB, url, topicTokens, answer string) {
	t.Helper()
	l := listen(t, url, "phx.presence.list."+topicTokens)
	go func() {
		for m := range l.messages {
			if answer != "" {
				_ = m.Respond([]byte(answer)) // the test misses it
			}
		}
	}()
	t.Cleanup(func() { l.nc.Close(); close(l.messages) })
}

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

// freeAddress is an address that nobody listens on, out of the range of ports that outgoing connections take.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		given.Lock()
		given.port++
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+(given.port+os.Getpid()*97)%12_000)
		given.Unlock()
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

var given struct {
	sync.Mutex
	port int
}
