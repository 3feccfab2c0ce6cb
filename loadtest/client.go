//go:build linux

package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// clientState is how far a client has come:
//
//	waiting → connecting → upgrading → joining → joined → ended
//
// Any state may go to ended, by an error or by the peer. No client comes back from there.
type clientState uint8

const (
	waiting    clientState = iota
	connecting             // connect(2) is under way
	upgrading              // the HTTP request is sent
	joining                // phx_join is sent
	joined
	ended
)

func (s clientState) String() string {
	return [...]string{"waiting", "connect", "upgrade", "join", "joined", "ended"}[s]
}

// client is one socket. There are many, so it is small, and none owns a buffer except while a frame is incomplete or
// the kernel does not take what is to be sent. It belongs to its loop.
type client struct {
	fd               int32
	number           int32 // among all clients of the run: chooses topic and source address
	index            int32 // in its loop
	state            clientState
	heartbeatPending bool  // the last heartbeat is not answered
	startedAt        int64 // of the connect
	heartbeatAt      int64 // when the next is due
	in               stream
	unsent           []byte // what the kernel did not take yet
}

// websocketKey is RFC 6455's own sample (§1.3): one key for all spares a hash per client.
const websocketKey = "dGhlIHNhbXBsZSBub25jZQ=="

// maxResponseBytes bounds the answer to the upgrade request.
const maxResponseBytes = 16 << 10

// acceptKey is the Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// parseUpgrade looks for the server's answer at the start of data. size is its length, 0 if it is not complete.
func parseUpgrade(data []byte, accept string) (size int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxResponseBytes {
			return 0, errors.New("upgrade: response too long")
		}
		return 0, nil
	}
	head := data[:end+2]
	if len(head) < 12 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, errors.New("upgrade: not HTTP/1.1")
	}
	if status := head[9:12]; string(status) != "101" {
		return 0, fmt.Errorf("upgrade: HTTP %s", status)
	}
	if !bytes.Contains(head, []byte(accept+"\r\n")) {
		return 0, errors.New("upgrade: wrong Sec-WebSocket-Accept")
	}
	return end + 4, nil
}

// connect opens c's socket; what happens then comes as events.
func (l *loop) connect(c *client, now int64) {
	c.state, c.startedAt = connecting, now
	fd, err := unix.Socket(l.target.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		l.end(c, "socket: "+err.Error())
		return
	}
	c.fd = int32(fd)
	// Nagle would hold back a push until the last one is acknowledged. Errors here show in the connect.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if source := l.target.source(c.number); source != nil {
		// The port is chosen at connect, so that it need be free for this one destination only.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, source); err != nil {
			l.end(c, "bind: "+err.Error())
			return
		}
	}
	if err := unix.Connect(fd, l.target.address); err != nil && err != unix.EINPROGRESS {
		l.end(c, "connect: "+err.Error())
		return
	}
	if err := l.poll.add(fd, c.index); err != nil {
		l.end(c, err.Error())
	}
}

// writable follows an event that c's socket can be written to, or has an error.
func (l *loop) writable(c *client) {
	if c.state == connecting {
		errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		if err != nil {
			l.end(c, "connect: "+err.Error())
			return
		}
		c.state = upgrading
		l.send(c, l.target.request)
		return
	}
	if unsent := c.unsent; unsent != nil {
		c.unsent = nil
		l.send(c, unsent)
	}
}

// send writes bytes to c, and what the kernel does not take, later. data may be used again at once.
func (l *loop) send(c *client, data []byte) {
	if c.unsent != nil {
		c.unsent = append(c.unsent, data...)
		return
	}
	n, err := unix.Write(int(c.fd), data)
	if err == unix.EAGAIN || err == unix.EINTR {
		n, err = 0, nil
	}
	if err != nil {
		l.end(c, c.state.String()+": write: "+err.Error())
		return
	}
	if n < len(data) {
		c.unsent = append([]byte(nil), data[n:]...)
	}
}

// received takes what was read from c, behind what was kept.
func (l *loop) received(c *client, data []byte) {
	if c.state == upgrading {
		size, err := parseUpgrade(data, l.accept)
		if err != nil {
			l.end(c, err.Error())
			return
		}
		if size == 0 {
			c.in.keep(data, &l.buffers)
			return
		}
		data, c.state = data[size:], joining
		l.send(c, l.target.appendJoin(l.frame[:0], c.number))
	}
	for c.state != ended {
		f, rest, ok, err := c.in.next(data, l.keep)
		if err != nil {
			l.end(c, "protocol: "+err.Error())
			return
		}
		if data = rest; !ok {
			c.in.keep(data, &l.buffers)
			return
		}
		l.handleFrame(c, f)
	}
}

// handleFrame does what a client does with one frame.
func (l *loop) handleFrame(c *client, f frame) {
	switch {
	case f.masked:
		l.end(c, "protocol: masked frame (RFC 6455 §5.1)")
	case f.opcode == opText && c.state == joined:
		l.handler.message(c, f.payload)
	case f.opcode == opText:
		l.joinReply(c, f)
	case f.opcode == opPing:
		l.send(c, appendFrame(l.frame[:0], opPong, true, f.payload))
	case f.opcode == opClose:
		code := "without code"
		if len(f.payload) >= 2 {
			code = strconv.Itoa(int(f.payload[0])<<8 | int(f.payload[1]))
		}
		l.end(c, c.state.String()+": closed by server, "+code)
	}
}

// joinReply looks whether f answers c's join. Other messages may come first, and are ignored.
func (l *loop) joinReply(c *client, f frame) {
	m, ok := parseMessage(f.payload)
	if !ok || !m.isReply(joinRef) {
		return
	}
	switch status := field(m.payload, "status"); {
	case string(status) == `"ok"`:
		l.joined(c)
	case status == nil && len(f.payload) < f.length:
		l.end(c, fmt.Sprintf("join: reply longer than %d bytes, status not seen", keepBytes))
	default:
		l.end(c, fmt.Sprintf("join: refused, %.100s", field(m.payload, "response")))
	}
}
