package gateway

import "net"

// readable reads a socket of the poller once; what is left is reported again next turn, so that no socket keeps others waiting.
func (l *loop) readable(s *socket) {
	n, err := epollTransport{l}.read(s, l.scratch)
	if err != nil {
		l.peerGone(s)
		return
	}
	if n > 0 {
		l.feed(s, l.scratch[:n])
	}
}

// adoptFD makes a socket of an accepted descriptor.
func (l *loop) adoptFD(a accepted) {
	s := l.adopt(epollTransport{l}, a.fd, peerAddr(a.peer))
	if err := l.poller.add(a.fd, s.token()); err != nil {
		l.srv.warn("watch socket", "err", err)
		l.abort(s, causeWrite)
	}
}

// detach takes a socket's connection away from the loop.
func (l *loop) detach(s *socket) (net.Conn, error) {
	if t, ok := s.tr.(*stream); ok {
		conn := t.detach()
		l.release(s)
		return conn, nil
	}
	conn, err := epollTransport{l}.detach(s)
	l.release(s)
	return conn, err
}
