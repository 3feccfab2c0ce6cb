//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const aboutFloor = `Serves on --listen until interrupted: one epoll loop, no bus, no rules, no limits on time. It accepts every handshake, answers
joins and heartbeats with ok, and sends each other push to all members of its topic, encoded once. What it costs is what
the kernel charges; a gateway is compared with it.`

// floor is a bare Phoenix server on one loop.
type floor struct {
	poll     *poller
	listener int
	coalesce bool // one write per member and turn, instead of one per message
	conns    []*floorConn
	free     []int32 // indices of conns that may be taken
	freed    []int32 // the same, once this turn is over: events for them may still be in hand
	topics   map[string]*floorTopic
	dirty    []*floorTopic // with messages of this turn
	scratch  []byte
	frame    []byte
	buffers  bufferPool
}

// floorTopic is a topic and who has joined it.
type floorTopic struct {
	name    string
	members []*floorConn
	out     []byte // frames of this turn, when coalescing
}

func runFloor(ctx context.Context, args []string, out output) (exit int, err error) {
	fs := flag.NewFlagSet("floor", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:4100", "`address` to listen on")
	coalesce := fs.Bool("coalesce", false, "gather all messages of a turn into one write per member")
	if err := parseFlags(fs, args, aboutFloor, out.stdout); err != nil {
		return 0, err
	}
	// The limit matters as clients come; what it allows is served.
	if err := raiseFileLimit(64); err != nil {
		return 0, err
	}
	s, address, err := newFloor(*listen, *coalesce)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out.stdout, "floor: process %d listens on ws://%s/socket\n", os.Getpid(), address)
	return exitOK, s.serve(ctx)
}

// newFloor listens on address, host:port; port 0 takes a free one. It returns the address it got.
func newFloor(listen string, coalesce bool) (*floor, net.Addr, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, nil, usagef("--listen: %v", err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File() // a duplicate, which stays open
	if err != nil {
		return nil, nil, fmt.Errorf("take the listening socket: %w", err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("take the listening socket: %w", err)
	}
	s := &floor{listener: fd, coalesce: coalesce, topics: map[string]*floorTopic{}, scratch: make([]byte, maxPush+scratchBytes),
		frame: make([]byte, 0, 4096)}
	if s.poll, err = newPoller(); err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	// File made the socket blocking.
	if err := unix.SetNonblock(fd, true); err != nil {
		s.close()
		return nil, nil, fmt.Errorf("make the listening socket non-blocking: %w", err)
	}
	if err := s.poll.add(fd, keyListener); err != nil {
		s.close()
		return nil, nil, err
	}
	return s, listener.Addr(), nil
}

// keyListener is the key of the listening socket's events.
const keyListener = -3

// serve runs the loop until ctx is done, then closes everything.
func (s *floor) serve(ctx context.Context) error {
	defer s.close()
	defer context.AfterFunc(ctx, s.poll.wakeUp)()
	for ctx.Err() == nil {
		events, err := s.poll.wait(0, never)
		if err != nil {
			return err
		}
		for i := range events {
			if key := events[i].Fd; key == keyListener {
				s.accept()
			} else if key >= 0 {
				s.handleEvent(s.conns[key], events[i].Events)
			}
		}
		s.flush()
		s.free, s.freed = append(s.free, s.freed...), s.freed[:0]
	}
	return nil
}

// accept takes all connections that wait.
func (s *floor) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			// EAGAIN; or no descriptor is left, and then the next connect brings the next event.
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		c := &floorConn{fd: int32(fd)}
		if n := len(s.free); n > 0 {
			c.index, s.free = s.free[n-1], s.free[:n-1]
			s.conns[c.index] = c
		} else {
			c.index = int32(len(s.conns))
			s.conns = append(s.conns, c)
		}
		if s.poll.add(fd, c.index) != nil {
			s.abort(c)
		}
	}
}

// fanOut sends one text message, without its refs, to all members of a topic.
func (s *floor) fanOut(t *floorTopic, fromTopic []byte) {
	frame := appendFrame(s.frame[:0], opText, false, append([]byte(`[null,null,`), fromTopic...))
	s.frame = frame
	if s.coalesce {
		if len(t.out) == 0 {
			s.dirty = append(s.dirty, t)
		}
		t.out = append(t.out, frame...)
		return
	}
	s.sendAll(t, frame)
}

// flush sends what coalescing held back in this turn.
func (s *floor) flush() {
	for _, t := range s.dirty {
		s.sendAll(t, t.out)
		t.out = t.out[:0]
	}
	s.dirty = s.dirty[:0]
}

func (s *floor) sendAll(t *floorTopic, data []byte) {
	// Backwards, as a member that must be aborted is replaced by the last.
	for i := len(t.members) - 1; i >= 0; i-- {
		s.send(t.members[i], data)
	}
}

func (s *floor) close() {
	for _, c := range s.conns {
		if c != nil {
			unix.Close(int(c.fd))
		}
	}
	unix.Close(s.listener)
	s.poll.close()
}
