package gateway

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// What one read of a stream takes: an idle one waits with the small buffer, and one that filled it goes on with the large.
const (
	streamBuffer      = 512
	streamLargeBuffer = 4 << 10
)

// stream moves the bytes of a socket that is a net.Conn: TLS, and systems without epoll. It costs a goroutine and a buffer per socket;
// the socket itself is owned by its loop as any other. The reader goroutine hands its buffer to the loop and waits until it is given back; a writer goroutine
// exists while something is being written.
type stream struct {
	l    *loop
	conn net.Conn

	read   []byte        // the reader's, or the loop's between a mail and its token in resume
	resume chan struct{} // the loop gives the buffer back; never closed
	gone   chan struct{} // closed when the connection is closed or detached
	once   sync.Once

	writing bool   // owned by the loop: a writer is at work on written
	pending []byte // what the writer writes
}

// adoptStream makes a socket of a net.Conn and starts its reader. Called on any goroutine.
func (l *loop) adoptStream(conn net.Conn) {
	t := &stream{l: l, conn: conn, read: make([]byte, streamBuffer), resume: make(chan struct{}, 1), gone: make(chan struct{})}
	raw := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		raw = t.NetConn()
	}
	if c, ok := raw.(*net.TCPConn); ok {
		_ = c.SetWriteBuffer(sendBuffer) // without it the kernel only holds more
	}
	var peer netip.Addr
	if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		peer = a.Addr().Unmap().WithZone("") // a prefix of TrustedProxies has none
	}
	l.mailbox.post(mailFunc(func(l *loop) {
		s := l.adopt(t, -1, peer)
		slot, gen, introduced := s.slot, s.gen, s.state != introducing
		l.srv.streams.Go(func() { t.begin(slot, gen, introduced, raw, peer) })
	}))
}

// begin reads the PROXY header, where one is due, and shakes hands, on a goroutine of its own: the handshake of TLS needs a deep stack, which the reader would keep for as long as the
// socket lives.
func (t *stream) begin(slot, gen uint32, introduced bool, raw net.Conn, peer netip.Addr) {
	if !introduced && !t.readIntroduction(slot, gen, raw, peer) {
		return
	}
	if c, ok := t.conn.(interface{ Handshake() error }); ok {
		_ = c.Handshake() // the first read returns the error; the loop's deadline closes a connection that is slow
	}
	t.l.srv.streams.Go(func() { t.readAll(slot, gen) })
}

// readIntroduction reads the PROXY header, which comes before TLS. false: the connection is at its end.
func (t *stream) readIntroduction(slot, gen uint32, raw net.Conn, proxy netip.Addr) bool {
	peer, err := readProxyHeader(raw, proxy)
	t.l.mailbox.post(mailFunc(func(l *loop) {
		switch s := l.lookup(slot, gen); {
		case s == nil || s.state != introducing:
		case err == nil || errors.Is(err, errProxyHeader):
			l.introduced(s, peer, err)
		default:
			l.peerGone(s)
		}
	}))
	return err == nil
}

// readAll is the reader goroutine; it ends with the connection.
func (t *stream) readAll(slot, gen uint32) {
	for {
		n, err := t.conn.Read(t.read)
		if n > 0 {
			t.l.mailbox.post(mailFunc(func(l *loop) {
				if s := l.lookup(slot, gen); s != nil {
					l.feed(s, t.read[:n])
				}
				t.resume <- struct{}{}
			}))
			select {
			case <-t.resume:
			case <-t.gone:
				return
			}
			t.resize(n)
			select {
			case <-t.gone: // both may have been ready: what comes now belongs to whoever has the connection
				return
			default:
			}
		}
		if err != nil {
			t.l.mailbox.post(mailFunc(func(l *loop) {
				if s := l.lookup(slot, gen); s != nil {
					l.peerGone(s)
				}
			}))
			return
		}
	}
}

// resize chooses the buffer of the next read by what the last one took.
func (t *stream) resize(n int) {
	switch {
	case n == streamBuffer && len(t.read) == streamBuffer:
		t.read = make([]byte, streamLargeBuffer)
	case n <= streamBuffer && len(t.read) > streamBuffer:
		t.read = make([]byte, streamBuffer)
	}
}

func (t *stream) write(s *socket, o *outbox) (blocked bool, err error) {
	if t.writing {
		return true, nil
	}
	t.pending = append(t.pending[:0], o.next(t.l.gather)...)
	o.claim(len(t.pending))
	t.writing = true
	s.watchesWrite = true
	slot, gen := s.slot, s.gen
	t.l.srv.streams.Go(func() {
		n, err := t.conn.Write(t.pending)
		t.l.mailbox.post(mailFunc(func(l *loop) {
			t.writing = false
			s := l.lookup(slot, gen)
			if s == nil {
				return
			}
			s.watchesWrite = false
			o := s.out
			if err != nil || o == nil {
				l.abort(s, causeWrite)
				return
			}
			o.written(n)
			l.stats.bytesOut.add(n)
			if o.empty() {
				t.pending = nil
				s.out = nil
				o.reset()
				l.outboxes = append(l.outboxes, o)
			}
			l.flush(s)
		}))
	})
	return true, nil
}

func (t *stream) closeWrite(*socket) {
	type closeWriter interface{ CloseWrite() error }
	if c, ok := t.conn.(closeWriter); ok {
		// A TLS alert is a write: not on the loop.
		t.l.srv.streams.Go(func() { _ = c.CloseWrite() })
	}
}

func (t *stream) close(_ *socket, abort bool) {
	if c, ok := t.conn.(*net.TCPConn); ok && abort {
		_ = c.SetLinger(0)
	}
	t.once.Do(func() { close(t.gone) })
	// Closing a TLS connection writes an alert and may wait for a writer: not on the loop.
	t.l.srv.streams.Go(func() { _ = t.conn.Close() })
}

// detach gives the connection away after the reader handed over the head. The reader waits for its token and ends without it.
func (t *stream) detach() net.Conn {
	t.once.Do(func() { close(t.gone) })
	return t.conn
}
