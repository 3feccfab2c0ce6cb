package balancer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait of these tests.
const deadline = 5 * time.Second

// testBackend greets with its address and then echoes. When a client has ended
// its direction, it says "bye" and closes.
type testBackend struct {
	addr string

	ln      net.Listener
	serving sync.WaitGroup
	mu      sync.Mutex
	conns   []net.Conn // guarded by mu
}

// startBackend listens on addr ("127.0.0.1:0" for any port) until the test ends.
func startBackend(t *testing.T, addr string) *testBackend {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	b := &testBackend{addr: ln.Addr().String(), ln: ln}
	b.serving.Go(b.acceptAll)
	t.Cleanup(b.kill)
	return b
}

func (b *testBackend) acceptAll() {
	for {
		conn, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.conns = append(b.conns, conn)
		b.mu.Unlock()
		b.serving.Go(func() {
			defer conn.Close()
			io.WriteString(conn, b.addr+"\n")
			if _, err := io.Copy(conn, conn); err == nil {
				io.WriteString(conn, "bye\n")
			}
		})
	}
}

// kill closes the listener and every connection, and waits for the end.
func (b *testBackend) kill() {
	b.ln.Close()
	b.mu.Lock()
	for _, conn := range b.conns {
		conn.Close()
	}
	b.mu.Unlock()
	b.serving.Wait()
}

// harness is a running balancer.
type harness struct {
	*Balancer
	t    *testing.T
	addr string
	stop func() error // ends Serve and returns what it returned
}

func serve(t *testing.T, backends ...string) *harness {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	h := &harness{Balancer: New(backends, nil), t: t, addr: ln.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, ln) }()
	h.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-served:
			return err
		case <-time.After(deadline):
			return errors.New("Serve did not return")
		}
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h
}

// testClient is a connection through the balancer.
type testClient struct {
	*net.TCPConn
	t     *testing.T
	lines *bufio.Reader
}

func (h *harness) dial() *testClient {
	h.t.Helper()
	conn, err := net.DialTimeout("tcp", h.addr, deadline)
	if err != nil {
		h.t.Fatalf("dial: %v", err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(deadline))
	return &testClient{TCPConn: conn.(*net.TCPConn), t: h.t, lines: bufio.NewReader(conn)}
}

// dialBackend dials and returns the address with which the backend greeted, ""
// if the connection ended instead.
func (h *harness) dialBackend() (*testClient, string) {
	h.t.Helper()
	c := h.dial()
	line, err := c.lines.ReadString('\n')
	if isTimeout(err) {
		h.t.Fatal("no greeting, and the connection stays open")
	}
	return c, strings.TrimSuffix(line, "\n")
}

func (c *testClient) mustWrite(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("write %q: %v", s, err)
	}
}

func (c *testClient) wantLine(want string) {
	c.t.Helper()
	got, err := c.lines.ReadString('\n')
	if err != nil || got != want+"\n" {
		c.t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// wantEnd wants the connection to end without any more bytes.
func (c *testClient) wantEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.lines)
	if isTimeout(err) {
		c.t.Fatal("the connection stays open")
	}
	if len(rest) > 0 {
		c.t.Fatalf("read %q, want the end", rest)
	}
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// waitForStat waits until the backend at addr is what is wanted.
func (h *harness) waitForStat(want BackendStat) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		for _, got := range h.Stats() {
			if got == want {
				return
			}
		}
		if time.Now().After(end) {
			h.t.Fatalf("stats are %+v; want %+v among them", h.Stats(), want)
		}
	}
}
