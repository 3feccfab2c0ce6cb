//go:build linux

package main

import (
	"bytes"

	"golang.org/x/sys/unix"
)

const (
	// maxUnsent is what may wait for one connection; beyond it the connection is aborted.
	maxUnsent = 8 << 20
	// maxPush is the longest push the floor takes.
	maxPush = 2 << 20
)

// floorConn is one client's connection to the floor.
type floorConn struct {
	fd, index int32
	upgraded  bool
	closed    bool
	topics    []*floorTopic
	in        stream
	unsent    []byte
}

func (s *floor) handleEvent(c *floorConn, events uint32) {
	if c == nil || c.closed {
		return
	}
	if events&unix.EPOLLOUT != 0 && c.unsent != nil {
		unsent := c.unsent
		c.unsent = nil
		s.send(c, unsent)
	}
	ending := events&(unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0
	for !c.closed && (ending || events&unix.EPOLLIN != 0) {
		kept := c.in.restore(s.scratch)
		n, err := unix.Read(int(c.fd), s.scratch[kept:])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return
		}
		if err != nil || n == 0 {
			s.abort(c)
			return
		}
		s.received(c, s.scratch[:kept+n])
		if kept+n < len(s.scratch) && !ending {
			return
		}
	}
}

// received takes what was read from c, behind what was kept.
func (s *floor) received(c *floorConn, data []byte) {
	if !c.upgraded {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			c.in.keep(data, &s.buffers)
			return
		}
		s.upgrade(c, data[:end+2])
		data = data[end+4:]
	}
	for !c.closed {
		f, rest, ok, err := c.in.next(data, maxPush)
		if err != nil || c.in.skip > 0 { // longer than the floor would keep
			s.abort(c)
			return
		}
		if data = rest; !ok {
			c.in.keep(data, &s.buffers)
			return
		}
		applyMask(f.payload, f.mask)
		switch f.opcode {
		case opText:
			s.handleMessage(c, f.payload)
		case opPing:
			s.send(c, appendFrame(nil, opPong, false, f.payload))
		case opClose:
			s.send(c, appendFrame(nil, opClose, false, f.payload))
			s.abort(c)
		}
	}
}

// upgrade answers the handshake, whose head ends with the last header's line break.
func (s *floor) upgrade(c *floorConn, head []byte) {
	const name = "sec-websocket-key:"
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			c.upgraded = true
			s.send(c, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: "+acceptKey(string(bytes.TrimSpace(line[len(name):])))+"\r\n\r\n"))
			return
		}
	}
	s.send(c, []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
	s.abort(c)
}

// handleMessage does with one push what little the floor does.
func (s *floor) handleMessage(c *floorConn, text []byte) {
	m, ok := parseMessage(text)
	if !ok {
		s.abort(c)
		return
	}
	switch {
	case string(m.event) == `"phx_join"`:
		s.join(c, string(m.topic))
		s.reply(c, &m, m.joinRef)
	case string(m.topic) == `"phoenix"`:
		s.reply(c, &m, []byte("null"))
	default:
		if t := s.topics[string(m.topic)]; t != nil {
			s.fanOut(t, m.fromTopic)
		}
	}
}

func (s *floor) join(c *floorConn, name string) {
	t := s.topics[name]
	if t == nil {
		t = &floorTopic{name: name}
		s.topics[name] = t
	}
	for _, has := range c.topics {
		if has == t {
			return
		}
	}
	c.topics = append(c.topics, t)
	t.members = append(t.members, c)
}

func (s *floor) reply(c *floorConn, m *message, joinRef []byte) {
	text := append(append(make([]byte, 0, 128), '['), joinRef...)
	text = append(append(append(text, ','), m.ref...), ',')
	text = append(append(text, m.topic...), `,"phx_reply",{"status":"ok","response":{}}]`...)
	s.send(c, appendFrame(nil, opText, false, text))
}

// send writes data to c, and keeps what the kernel does not take.
func (s *floor) send(c *floorConn, data []byte) {
	if c.closed {
		return
	}
	n := 0
	if c.unsent == nil {
		var err error
		n, err = unix.Write(int(c.fd), data)
		if err == unix.EAGAIN || err == unix.EINTR {
			n, err = 0, nil
		}
		if err != nil {
			s.abort(c)
			return
		}
	}
	if n < len(data) {
		if c.unsent = append(c.unsent, data[n:]...); len(c.unsent) > maxUnsent {
			s.abort(c)
		}
	}
}

// abort closes c's connection and takes it off its topics.
func (s *floor) abort(c *floorConn) {
	if c.closed {
		return
	}
	c.closed = true
	unix.Close(int(c.fd))
	for _, t := range c.topics {
		for i, member := range t.members {
			if member == c {
				last := len(t.members) - 1
				t.members[i], t.members[last] = t.members[last], nil
				t.members = t.members[:last]
				break
			}
		}
		if len(t.members) == 0 {
			delete(s.topics, t.name)
		}
	}
	s.conns[c.index] = nil
	s.freed = append(s.freed, c.index)
}
