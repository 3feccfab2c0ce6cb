package contracttest

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// natsServer is a NATS server with a configuration file, on one port for its
// whole life. Its methods belong to the test's goroutine.
type natsServer struct {
	t    *testing.T
	port int
	srv  *server.Server
}

// startConfigured starts a server from the text of a configuration file. It
// stops when the test ends.
func startConfigured(t *testing.T, text string) *natsServer {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &natsServer{t: t}
	if s.port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	s.start(text)
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start(text string) {
	s.t.Helper()
	options, err := server.ProcessConfigFile(writeFile(s.t, "nats.conf", text))
	if err != nil {
		s.t.Fatalf("configuration: %v\n%s", err, text)
	}
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", s.port, true, true
	// A file may not say less than half a minute.
	options.LameDuckGracePeriod, options.LameDuckDuration = 100*time.Millisecond, time.Second
	if s.srv, err = server.NewServer(options); err != nil {
		s.t.Fatalf("NATS server: %v\n%s", err, text)
	}
	s.srv.Start()
	if !s.srv.ReadyForConnections(2 * phxtest.Patience()) {
		s.t.Fatal("NATS server: not ready for connections")
	}
}

func (s *natsServer) stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// restart gives the server another configuration.
func (s *natsServer) restart(text string) {
	s.t.Helper()
	s.stop()
	s.start(text)
}

// url is the server's URL; user is "", a token, or user:password.
func (s *natsServer) url(user string) string {
	if user != "" {
		user += "@"
	}
	return "nats://" + user + "127.0.0.1:" + strconv.Itoa(s.port)
}

// documentedConfig is the first block under a heading of docs/nats.md.
func documentedConfig(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "nats.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	_, rest, begun := strings.Cut(rest, "\n```\n")
	block, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !begun || !ended {
		t.Fatalf("docs/nats.md has no block under %q", heading)
	}
	return block
}

// denied is what the server said against a publish or subscription that was
// made by do; nil: nothing. The server answers before the PONG of the flush.
func denied(t *testing.T, nc *nats.Conn, do func() error) error {
	t.Helper()
	before := nc.LastError()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Fatalf("flush: %v", err)
	}
	if after := nc.LastError(); after != before {
		return after
	}
	return nil
}

// deniedPublish and deniedSubscribe are denied for one subject. The latter
// leaves no subscription behind.
func deniedPublish(t *testing.T, nc *nats.Conn, subject string) error {
	t.Helper()
	return denied(t, nc, func() error { return nc.Publish(subject, []byte(`{}`)) })
}

func deniedSubscribe(t *testing.T, nc *nats.Conn, subject string) error {
	t.Helper()
	var sub *nats.Subscription
	err := denied(t, nc, func() (err error) {
		sub, err = nc.SubscribeSync(subject)
		return err
	})
	_ = sub.Unsubscribe() // the server may have refused it already
	return err
}

// wantUnready waits until the gateway is not ready for a reason that holds one
// of the texts, in any case of letters, and returns the whole reason.
func wantUnready(g *gateway, texts ...string) string {
	g.t.Helper()
	var status int
	var body string
	defer func() {
		if g.t.Failed() {
			g.t.Logf("the last answer of readyz: %d %q", status, body)
		}
	}()
	waitFor(g.t, "readyz 503 with "+strings.Join(texts, " or "), func() bool {
		select {
		case <-g.ended:
			g.t.Fatalf("gateway ended: %v\n%s", g.cmd.ProcessState, g.stderr)
		default:
		}
		status, body = g.readyz()
		for _, text := range texts {
			if strings.Contains(strings.ToLower(body), strings.ToLower(text)) {
				return status == http.StatusServiceUnavailable
			}
		}
		return false
	})
	return body
}

// copyFile gives the file at to the contents of the one at from.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, to, string(text))
}
