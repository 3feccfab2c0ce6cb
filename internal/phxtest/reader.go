package phxtest

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// maxFrame bounds a frame from the server, so that a length that is wrong
// fails the test and does not eat the machine.
const maxFrame = 64 << 20

// read collects frames until the connection is over. It is as strict as a
// browser: a masked frame, a reserved bit, a broken fragment or text that is
// not UTF-8 ends the connection with that cause.
func (s *socket) read() {
	defer close(s.ended)
	defer s.conn.Close()
	err := s.readFrames()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.setClosedLocked(&ClosedError{Code: 1006, Cause: err})
	} else if !errors.Is(err, io.EOF) {
		s.log.Note(s.name, "after the close: %v", err)
	}
}

// readFrames returns why reading stopped, io.EOF included.
func (s *socket) readFrames() error {
	state := ws.StateClientSide
	var message Frame // what came of a fragmented message
	for {
		s.waitWhilePaused()
		h, err := ws.ReadHeader(s.in)
		if err != nil {
			return err
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return err
		}
		if h.Length > maxFrame {
			return fmt.Errorf("frame of %d bytes", h.Length)
		}
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(s.in, data); err != nil {
			return err
		}
		if h.OpCode.IsControl() {
			if err := s.control(h.OpCode, data); err != nil {
				return err
			}
			continue
		}
		if h.OpCode != ws.OpContinuation {
			message = Frame{Binary: h.OpCode == ws.OpBinary}
		}
		message.Data = append(message.Data, data...)
		if state = state.Set(ws.StateFragmented); !h.Fin {
			continue
		}
		state = state.Clear(ws.StateFragmented)
		if err := s.deliver(message); err != nil {
			return err
		}
	}
}

func (s *socket) waitWhilePaused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.paused {
		s.resumed.Wait()
	}
}

func (s *socket) deliver(f Frame) error {
	s.log.received(s.name, f)
	if !f.Binary && !utf8.Valid(f.Data) {
		return errors.New("text frame that is not UTF-8 (RFC 6455 §5.6)")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return errors.New("data after the close frame (RFC 6455 §5.5.1)")
	}
	s.frames = append(s.frames, f)
	s.signalLocked()
	return nil
}

// control answers a ping, and takes and answers a close frame. After that the
// reader goes on until the server ends the TCP connection, as RFC 6455 §7.1.1
// asks of a client.
func (s *socket) control(op ws.OpCode, data []byte) error {
	switch op {
	case ws.OpPing:
		return s.send(ws.OpPong, data)
	case ws.OpClose:
		closed := &ClosedError{Code: int(ws.StatusNoStatusRcvd)}
		switch {
		case len(data) == 1:
			return errors.New("close frame of one byte (RFC 6455 §5.5.1)")
		case len(data) > 1:
			code, reason := ws.ParseCloseFrameData(data)
			closed.Code = int(code)
			if !utf8.ValidString(reason) {
				return errors.New("close reason that is not UTF-8 (RFC 6455 §5.5.1)")
			}
			if reason != "" {
				s.log.Note(s.name, "close reason %q", reason)
			}
		}
		s.mu.Lock()
		s.setClosedLocked(closed)
		reply := s.closeReply && !s.closeSent
		s.mu.Unlock()
		if reply {
			// An error means that the server is gone, which the next read says too.
			_ = s.send(ws.OpClose, data[:min(len(data), 2)])
		}
	}
	return nil
}

// setClosedLocked records how the connection ended; the first cause stands.
func (s *socket) setClosedLocked(closed *ClosedError) {
	if s.closed != nil {
		return
	}
	s.closed = closed
	s.log.add(s.name, "←", closed.Error())
	s.signalLocked()
}

func (s *socket) signalLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}
