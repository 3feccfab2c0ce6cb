package phxtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// ErrTimeout is what a wait ends with when nothing came in time.
var ErrTimeout = errors.New("nothing came in time")

// ClosedError says that the connection is over and no frame is left.
type ClosedError struct {
	// Code is the close frame's, 1005 if it had none, and 1006 where the
	// connection ended without a close frame (RFC 6455 §7.1.5).
	Code int
	// Cause is why the reader stopped: nil after a close frame.
	Cause error
}

func (e *ClosedError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("closed %d (%v)", e.Code, e.Cause)
	}
	return fmt.Sprintf("closed %d", e.Code)
}

// socket is a client's end of a WebSocket connection: what Client and the
// transcript runner have in common. One goroutine may receive while others
// send.
type socket struct {
	name       string
	log        *Log
	protocol   string // chosen by the server
	closeReply bool
	conn       net.Conn
	in         *bufio.Reader // owned by the reader
	ended      chan struct{} // closed by the reader when the connection is over

	writing sync.Mutex // held for one frame, so that frames do not mix

	mu        sync.Mutex    // guards what follows
	frames    []Frame       // received, not taken yet
	closed    *ClosedError  // set once, after the last frame
	changed   chan struct{} // closed and replaced when frames or closed change
	closeSent bool          // no second close frame may follow (RFC 6455 §5.5.1)
	paused    bool
	resumed   *sync.Cond // on mu: paused became false
}

// openSocket connects and starts the reader. A refusal has a ws.StatusError
// in its chain.
func openSocket(ctx context.Context, url string, c config) (*socket, error) {
	conn, early, handshake, err := c.dialer.Dial(ctx, url)
	if err != nil {
		c.log.Note(c.name, "open %s: %v", url, err)
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	c.log.Note(c.name, "open %s", url)
	if early == nil {
		early = bufio.NewReader(conn)
	}
	s := &socket{
		name: c.name, log: c.log, protocol: handshake.Protocol, closeReply: c.closeReply,
		conn: conn, in: early, paused: c.paused,
		ended: make(chan struct{}), changed: make(chan struct{}),
	}
	s.resumed = sync.NewCond(&s.mu)
	go s.read()
	return s, nil
}

// recv takes the next frame. It waits until ctx is done or d has passed
// (ErrTimeout); after the last frame it returns a *ClosedError.
func (s *socket) recv(ctx context.Context, d time.Duration) (Frame, error) {
	return s.await(ctx, d, func() (Frame, bool) {
		if len(s.frames) == 0 {
			return Frame{}, false
		}
		f := s.frames[0]
		s.frames = s.frames[1:]
		return f, true
	})
}

// peek is recv that leaves the frame.
func (s *socket) peek(ctx context.Context, d time.Duration) (Frame, error) {
	return s.await(ctx, d, func() (Frame, bool) {
		if len(s.frames) == 0 {
			return Frame{}, false
		}
		return s.frames[0], true
	})
}

// find takes the first frame that is wanted, and leaves the others in order.
func (s *socket) find(ctx context.Context, d time.Duration, wanted func(Frame) bool) (Frame, error) {
	seen := 0 // frames before this one are not wanted
	return s.await(ctx, d, func() (Frame, bool) {
		for ; seen < len(s.frames); seen++ {
			if f := s.frames[seen]; wanted(f) {
				s.frames = append(s.frames[:seen:seen], s.frames[seen+1:]...)
				return f, true
			}
		}
		return Frame{}, false
	})
}

// await calls take with mu held, again at every change, until it succeeds.
func (s *socket) await(ctx context.Context, d time.Duration, take func() (Frame, bool)) (Frame, error) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		f, ok := take()
		closed, changed := s.closed, s.changed
		s.mu.Unlock()
		if ok {
			return f, nil
		}
		if closed != nil {
			return Frame{}, closed
		}
		select {
		case <-changed:
		case <-deadline.C:
			return Frame{}, fmt.Errorf("%w (%v)", ErrTimeout, d)
		case <-ctx.Done():
			return Frame{}, ctx.Err()
		}
	}
}

// forget drops the frames received so far.
func (s *socket) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = nil
}

// send writes one frame, masked.
func (s *socket) send(op ws.OpCode, data []byte) error {
	switch op {
	case ws.OpClose:
		code, _ := ws.ParseCloseFrameData(data)
		s.log.add(s.name, "→", fmt.Sprintf("close %d", code))
		s.mu.Lock()
		s.closeSent = true
		s.mu.Unlock()
	case ws.OpText, ws.OpBinary:
		s.log.sent(s.name, Frame{Binary: op == ws.OpBinary, Data: data})
	}
	return s.write(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, data))))
}

// write writes bytes as they are, at most for Patience.
func (s *socket) write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(Patience())); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

// drop ends the TCP connection without a close frame, by a reset where reset
// is true, and waits for the reader.
func (s *socket) drop(reset bool) {
	if tcp, ok := plain(s.conn).(*net.TCPConn); ok && reset {
		// Close sends a reset then. An error means that it is closed already.
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
	_ = s.conn.Close() // nothing was promised to the peer
	s.pause(false)
	<-s.ended
}

// pause has the reader stop before its next frame, or go on.
func (s *socket) pause(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = on
	s.resumed.Broadcast()
}

// plain is the connection beneath TLS.
func plain(conn net.Conn) net.Conn {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return wrapped.NetConn()
	}
	return conn
}
