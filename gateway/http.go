package gateway

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// statusLine is "403 Forbidden" for 403.
func statusLine(status int) string { return strconv.Itoa(status) + " " + http.StatusText(status) }

// writeLength writes the Content-Length header and the blank line.
func writeLength(b *bytes.Buffer, n int) {
	b.WriteString("Content-Length: ")
	b.WriteString(strconv.Itoa(n))
	b.WriteString("\r\n\r\n")
}

// pages serves the paths that are no sockets with net/http: a listener whose connections come from the loops.
type pages struct {
	conns chan net.Conn // never closed
	done  chan struct{} // closed by Close
	once  sync.Once
	addr  net.Addr
}

func newPages(addr net.Addr) *pages {
	return &pages{conns: make(chan net.Conn, 64), done: make(chan struct{}), addr: addr}
}

// give hands over a connection; a loop never waits, so beyond 64 that nobody took it is closed.
func (p *pages) give(c prefixed) {
	select {
	case p.conns <- &c:
	default:
		c.Close()
	}
}

func (p *pages) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pages) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pages) Addr() net.Addr { return p.addr }

// Read gives the bytes that the loop had read, then those that come.
func (c *prefixed) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
