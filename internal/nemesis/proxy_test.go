package nemesis

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// linkState is what a proxy does with what it carries.
type linkState int

const (
	linkOpen    linkState = iota
	linkCut               // connections are closed, new ones at once
	linkStalled           // connections stand and carry nothing
)

// proxy is a link to a TCP server of this machine that can be broken. Bytes that wait in a stalled link arrive when it opens.
type proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	state linkState
	moved sync.Cond // on mu: state changed
	conns map[net.Conn]bool
	ended bool
}

// newProxy starts a link to target that ends with the test.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: ln, target: target, conns: map[net.Conn]bool{}}
	p.moved.L = &p.mu
	p.done.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.set(linkCut)
		ln.Close()
		p.done.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) set(state linkState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	if state == linkCut {
		for c := range p.conns {
			c.Close()
		}
	}
	p.moved.Broadcast()
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.carry(conn) })
	}
}

// carry moves the bytes of one connection both ways until an end closes or the link is cut.
func (p *proxy) carry(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", p.target, 2*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.state == linkCut {
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// copy moves bytes one way. When it ends, so does the other way.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !p.pass() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pass waits while the link is stalled; false if it is cut.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.state == linkStalled && !p.ended {
		p.moved.Wait()
	}
	return p.state != linkCut
}

func TestProxy(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var echoing sync.WaitGroup
	t.Cleanup(func() { echo.Close(); echoing.Wait() })
	echoing.Go(func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			echoing.Go(func() { _, _ = io.Copy(conn, conn); conn.Close() })
		}
	})
	p := newProxy(t, echo.Addr().String())
	conn, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	receive := func(wait time.Duration) error {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}
	exchange := func(wait time.Duration) error {
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		return receive(wait)
	}
	if err := exchange(5 * time.Second); err != nil {
		t.Fatalf("open: %v", err)
	}
	p.set(linkStalled)
	if err := exchange(50 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("stalled: %v, want a timeout", err)
	}
	p.set(linkOpen)
	if err := receive(5 * time.Second); err != nil {
		t.Fatalf("the byte that waited: %v", err)
	}
	if err := exchange(5 * time.Second); err != nil {
		t.Fatalf("open again: %v", err)
	}
	p.set(linkCut)
	if err := exchange(5 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("cut: %v, want the end", err)
	}
	if conn, err = net.Dial("tcp", p.addr()); err == nil {
		if err := exchange(5 * time.Second); err == nil {
			t.Fatal("a new connection through a cut link carries bytes")
		}
		conn.Close()
	}
}
