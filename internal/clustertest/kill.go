package clustertest

import (
	"context"
	"net"
	"sync"
)

// Kill ends gateway i as the death of its process would: it says nothing more to NATS, its clients' connections are reset without a close frame, and nobody
// listens on its address any more. It returns when all of that has happened. The cluster must be killable, and a gateway can be killed once.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	g := c.Gateways[i]
	if g.held == nil {
		c.t.Fatal("Kill: the cluster was started without Options.Killable")
	}
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	g.leaveNATS(dead)
	g.held.cut() // before the listener is closed, which has the gateway say goodbye
	g.Drain()    // nobody is left to be told; what the gateway started must end
}

// heldListener keeps the connections it accepts, so that they can be cut.
type heldListener struct {
	net.Listener

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	dead  bool // who connects now is reset too
}

// Accept implements net.Listener.
func (l *heldListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, conn)
		if l.dead {
			abort(conn)
		}
		l.mu.Unlock()
	}
	return conn, err
}

// cut resets every connection, and those that are still accepted. One that is closed already stays so.
func (l *heldListener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, conn := range l.conns {
		abort(conn)
	}
}

// abort closes a connection with a reset.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already, and so below
	}
	_ = conn.Close()
}
