package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/authz"
)

// waitLimit bounds each wait of a test.
const waitLimit = 10 * time.Second

// program is the service as it runs, and a client of it.
type program struct {
	t       *testing.T
	logs    *logBuffer
	hangups chan os.Signal
	client  *nats.Conn
}

func startProgram(t *testing.T, policy string) *program {
	t.Helper()
	url := startNATS(t, -1).ClientURL()
	p := runProgram(t, url, policy)
	p.waitForLog("connected=true")
	p.dial(url)
	return p
}

// runProgram runs the program until the test ends, and wants it to end without an error.
func runProgram(t *testing.T, url, policy string) *program {
	t.Helper()
	p := &program{t: t, logs: &logBuffer{grown: make(chan struct{}, 1)}, hangups: make(chan os.Signal)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-nats", url, "-policy", policy, "-prefix", "a.b"}, p.hangups, p.logs)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(waitLimit):
			t.Errorf("still running; log:\n%s", p.logs)
		}
	})
	return p
}

func (p *program) dial(url string) {
	p.t.Helper()
	client, err := nats.Connect(url)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(client.Close)
	p.client = client
}

// request asks until somebody is there to answer: a server may hear of the program's subscription after the program did.
func (p *program) request(subject, body string) []byte {
	p.t.Helper()
	deadline := time.Now().Add(waitLimit)
	for {
		msg, err := p.client.Request(subject, []byte(body), waitLimit)
		if err == nil {
			return msg.Data
		}
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(deadline) {
			p.t.Errorf("%s %s: %v; log:\n%s", subject, body, err, p.logs)
			return nil
		}
	}
}

// connect and join read the answers as a gateway does.
func (p *program) connect(body string) authz.ConnectReply {
	p.t.Helper()
	answer := p.request("a.b.authz.connect", body)
	reply, err := authz.ParseConnectReply(answer)
	if err != nil {
		p.t.Errorf("%s: answer %s: %v", body, answer, err)
	}
	return reply
}

func (p *program) join(body string) authz.JoinReply {
	p.t.Helper()
	answer := p.request("a.b.authz.join", body)
	reply, err := authz.ParseJoinReply(answer)
	if err != nil {
		p.t.Errorf("%s: answer %s: %v", body, answer, err)
	}
	return reply
}

func (p *program) waitForLog(text string) {
	p.t.Helper()
	deadline := time.After(waitLimit)
	for !strings.Contains(p.logs.String(), text) {
		select {
		case <-p.logs.grown:
		case <-deadline:
			p.t.Fatalf("no %q in the log:\n%s", text, p.logs)
		}
	}
}

// logBuffer keeps what is written; grown has an element after a write.
type logBuffer struct {
	mu    sync.Mutex
	text  strings.Builder // guarded by mu
	grown chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.grown <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func startNATS(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(waitLimit) {
		t.Fatal("NATS is not ready")
	}
	return s
}

func writePolicy(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "policy.yaml")
	overwrite(t, path, text)
	return path
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
