//go:build !linux

package gateway

import (
	"context"
	"net"
)

// acceptAll accepts until ctx ends; every socket is a stream.
func (srv *Server) acceptAll(ctx context.Context, ln net.Listener) error {
	return srv.acceptStreams(ctx, ln)
}

// isFatalAccept: a closed listener is told apart before; all other errors pass.
func isFatalAccept(error) bool { return false }

// readable: there are no sockets in the poller.
func (l *loop) readable(*socket) {}

// detach takes a socket's connection away from the loop.
func (l *loop) detach(s *socket) (net.Conn, error) {
	conn := s.tr.(*stream).detach()
	l.release(s)
	return conn, nil
}
