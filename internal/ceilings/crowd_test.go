//go:build linux

package ceilings

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// sock is one client of a crowd: a bare descriptor. Its reads and writes block, at most for the patience.
type sock int

// crowd is a number of sockets of one gateway.
type crowd []sock

// wave is how many sockets of a crowd wait for an answer at once.
const wave = 64

const upgradeHeaders = " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// upgradeRequest is the request of every socket of a crowd.
const upgradeRequest = "GET /socket/websocket?vsn=2.0.0" + upgradeHeaders + "\r\n"

// connect opens n TCP connections, which are reset when the test ends. receiveBuffer in bytes, where it is not 0, bounds what the kernel takes for each.
func connect(t *testing.T, addr string, n, receiveBuffer int) crowd {
	t.Helper()
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	c := make(crowd, 0, n)
	t.Cleanup(func() { c.close() })
	timeout := unix.NsecToTimeval(int64(2 * phxtest.Patience()))
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("socket %d of %d: %v", i, n, err)
		}
		c = append(c, sock(fd))
		if receiveBuffer > 0 {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		err = errors.Join(err, unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}),
			// Timeouts last: with one, a signal would interrupt the connect.
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
			// No TIME_WAIT: the next limit needs the ports.
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		if err != nil {
			t.Fatalf("connect socket %d of %d: %v", i, n, err)
		}
	}
	return c
}

// dial opens n WebSockets.
func dial(t *testing.T, addr string, n, receiveBuffer int) crowd {
	t.Helper()
	c := connect(t, addr, n, receiveBuffer)
	c.exchange(t, func(int) []byte { return []byte(upgradeRequest) }, func(i int, s sock) error {
		status, err := s.status()
		if err == nil && status != http.StatusSwitchingProtocols {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	return c
}

// exchange sends a request on every socket and takes its answer, a wave at a time.
func (c crowd) exchange(t *testing.T, request func(i int) []byte, answer func(i int, s sock) error) {
	t.Helper()
	for from := 0; from < len(c); from += wave {
		part := c[from:min(from+wave, len(c))]
		for i, s := range part {
			if _, err := s.Write(request(from + i)); err != nil {
				t.Fatalf("socket %d of %d: write: %v", from+i, len(c), err)
			}
		}
		for i, s := range part {
			if err := answer(from+i, s); err != nil {
				t.Fatalf("socket %d of %d: %v", from+i, len(c), err)
			}
		}
	}
}

// joinMessage is a join with join_ref and ref "1".
func joinMessage(topic string) []byte { return textFrame(`["1","1","` + topic + `","phx_join",{}]`) }

// join joins every socket to a topic.
func (c crowd) join(t *testing.T, topic string) {
	t.Helper()
	c.exchange(t, func(int) []byte { return joinMessage(topic) }, func(_ int, s sock) error {
		f, err := readMessage(s)
		if err == nil && !strings.Contains(string(f.payload), `"ok"`) {
			err = fmt.Errorf("join %s: %s", topic, f.payload)
		}
		return err
	})
}

// close resets all connections.
func (c crowd) close() {
	for i, s := range c {
		if s >= 0 {
			unix.Close(int(s))
			c[i] = -1
		}
	}
}

// readable returns the indices of the sockets that have something to read or have ended, without waiting.
func (c crowd) readable() (ready []int, err error) {
	fds := make([]unix.PollFd, len(c))
	for i, s := range c {
		fds[i] = unix.PollFd{Fd: int32(s), Events: unix.POLLIN}
	}
	for {
		if _, err = unix.Poll(fds, 0); err != unix.EINTR {
			break
		}
	}
	for i, f := range fds {
		if f.Revents != 0 {
			ready = append(ready, i)
		}
	}
	return ready, err
}

// Read implements [io.Reader].
func (s sock) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements [io.Writer].
func (s sock) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.SendmsgN(int(s), p[n:], nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// status reads the answer to a handshake.
func (s sock) status() (int, error) {
	response, err := http.ReadResponse(bufio.NewReader(s), nil)
	if err != nil {
		return 0, fmt.Errorf("handshake: %w", err)
	}
	return response.StatusCode, nil
}
