package gateway

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// feed handles bytes that the client sent. data is the loop's scratch buffer: what must be kept is copied.
func (l *loop) feed(s *socket, data []byte) {
	s.lastRead = l.now
	l.stats.bytesIn.add(len(data))
	if s.doom != causeNone {
		return
	}
	switch s.state {
	case introducing:
		l.feedProxyHeader(s, data)
	case handshaking:
		l.feedHead(s, data)
	case held, connecting:
		// A client may not send before the 101; what it sends all the same is kept within the bound of a head and parsed afterwards.
		if in := s.keep(l); len(in.buf)+len(data) > maxHead {
			l.abort(s, causeHandshake)
		} else {
			in.buf = append(in.buf, data...)
			l.account(s)
		}
	case open:
		l.feedFrames(s, data)
		l.askAuthorizer()
	}
}

// keep returns the socket's inbound, made if there is none.
func (s *socket) keep(l *loop) *inbound {
	if s.in == nil {
		s.in = &inbound{since: l.now}
	}
	return s.in
}

// feedFrames handles bytes of an open socket: every complete frame is unmasked in place and handled; the rest is kept.
func (l *loop) feedFrames(s *socket, data []byte) {
	kept := s.in != nil && len(s.in.buf) > 0
	if kept {
		s.in.buf = append(s.in.buf, data...)
		data = s.in.buf
	}
	all := len(data)
	for len(data) > 0 && s.state == open && s.doom == causeNone {
		h, size, bad := parseHeader(data, s.deflates)
		if bad != causeNone {
			l.closeSocket(s, bad)
			return
		}
		if size == 0 {
			break
		}
		if !h.OpCode.IsControl() && h.Length > int64(l.srv.cfg.MaxFrameBytes-s.fragmentBytes()) {
			l.closeSocket(s, causeTooBig)
			return
		}
		if int64(len(data)-size) < h.Length {
			break
		}
		payload := data[size : size+int(h.Length)]
		ws.Cipher(payload, h.Mask, 0)
		data = data[size+int(h.Length):]
		l.frame(s, h, payload)
	}
	if s.state != open || s.doom != causeNone {
		l.forget(s)
		return
	}
	switch {
	case len(data) == 0 && s.in == nil: // the usual case: whole frames
		return
	case len(data) == 0:
		s.in.buf = nil
	case kept && cap(s.in.buf) <= 4*len(data)+maxSlack:
		s.in.buf = s.in.buf[:copy(s.in.buf, data)]
	case kept:
		s.in.buf = append([]byte(nil), data...) // an array that a large frame needed is not kept for a few bytes
	default:
		in := s.keep(l)
		in.buf = append(in.buf[:0], data...)
	}
	if len(s.in.buf) == 0 && s.in.op == 0 {
		l.forget(s)
		return
	}
	if len(data) < all && s.in.op == 0 {
		s.in.since = l.now // what is kept now belongs to another message than what was
	}
	l.account(s)
}

// maxSlack is how much more than its bytes a kept buffer may hold on to.
const maxSlack = 4 << 10

// fragmentBytes is how many bytes of an incomplete message the socket holds.
func (s *socket) fragmentBytes() int {
	if s.in == nil {
		return 0
	}
	return len(s.in.message)
}

// frame handles one complete frame, its payload unmasked (RFC 6455 §5.4 to §5.6).
func (l *loop) frame(s *socket, h ws.Header, payload []byte) {
	switch h.OpCode {
	case ws.OpText, ws.OpBinary:
		if s.in != nil && s.in.op != 0 {
			l.closeSocket(s, causeProtocol) // §5.4: fragments of two messages do not mix
			return
		}
		if h.Fin {
			l.message(s, h.OpCode, payload, h.Rsv != 0)
			return
		}
		in := s.keep(l)
		in.op, in.since, in.compressed = h.OpCode, l.now, h.Rsv != 0
		in.message = append([]byte(nil), payload...)
	case ws.OpContinuation:
		if s.in == nil || s.in.op == 0 {
			l.closeSocket(s, causeProtocol) // §5.4: nothing to continue
			return
		}
		in := s.in
		in.message = append(in.message, payload...)
		if h.Fin {
			op, message := in.op, in.message
			in.op, in.message = 0, nil
			l.message(s, op, message, in.compressed)
		}
	case ws.OpPing:
		l.send(s, appendControl(nil, ws.OpPong, payload))
	case ws.OpPong:
		// Unsolicited pongs are allowed (§5.5.3) and mean nothing here.
	case ws.OpClose:
		code, bad := closeCode(payload)
		if bad != causeNone {
			l.closeSocket(s, bad)
			return
		}
		l.endSocket(s, causeClient, code)
	}
}

// message handles one complete message. payload is valid for this call only.
func (l *loop) message(s *socket, op ws.OpCode, payload []byte, compressed bool) {
	if compressed {
		var err error
		if payload, err = l.inflater.inflate(payload, l.srv.cfg.MaxFrameBytes); err == errInflatesTooBig {
			l.closeSocket(s, causeTooBig)
			return
		} else if err != nil {
			l.closeSocket(s, causeProtocol)
			return
		}
	}
	text := op == ws.OpText
	if text && !utf8.Valid(payload) {
		l.closeSocket(s, causeNotUTF8) // §8.1
		return
	}
	l.stats.messagesIn.add(1)
	m := &l.decoded
	if err := s.serializer.Decode(m, text, payload); err != nil {
		l.closeSocket(s, causeMalformed)
		return
	}
	l.dispatch(s, m)
}

// forget lets go of what the socket kept.
func (l *loop) forget(s *socket) {
	if s.in != nil {
		l.srv.inboundBytes.Add(-int64(s.in.accounted))
		l.standDown(s)
		s.in = nil
	}
}

// account counts what the socket keeps; beyond INBOUND_BYTES_TOTAL the largest keepers of this loop lose what they keep and are doomed. The socket
// itself may be one of them: its caller looks at doom.
func (l *loop) account(s *socket) {
	held := len(s.in.buf) + len(s.in.message)
	if s.in.hs != nil {
		held += len(s.in.hs.head)
	}
	l.srv.inboundBytes.Add(int64(held - s.in.accounted))
	s.in.accounted = held
	for l.srv.inboundBytes.Load() > int64(l.srv.cfg.InboundBytesTotal) {
		var largest *socket
		for _, o := range l.slots {
			if o != nil && o.in != nil && (largest == nil || o.in.accounted > largest.in.accounted) {
				largest = o
			}
		}
		if largest == nil {
			return
		}
		l.forget(largest)
		largest.doom = causeInboundTotal
		l.markDirty(largest)
	}
}
