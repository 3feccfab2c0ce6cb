package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptAll accepts until ctx ends. Plain TCP goes to the loops' pollers, everything else (TLS) gets goroutines.
func (srv *Server) acceptAll(ctx context.Context, ln net.Listener) error {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return srv.acceptStreams(ctx, ln)
	}
	a, err := newAcceptor(tcp)
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { a.file.Close() })
	defer func() {
		if stop() {
			a.file.Close()
		}
	}()
	for {
		got, err := a.accept()
		for _, c := range got {
			if !srv.room() {
				unix.Close(c.fd)
				continue
			}
			srv.nextLoop().mailbox.post(mailFunc(func(l *loop) { l.adoptFD(c) }))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case isFatalAccept(err):
			return fmt.Errorf("accept: %w", err)
		default:
			srv.pauseAccept(err)
		}
	}
}

// isFatalAccept reports whether accepting can never work again; all other errors pass (accept(2): network errors of the new socket are reported by accept).
func isFatalAccept(err error) bool {
	return errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, os.ErrClosed)
}

// peerAddr is the address of an accepted connection's other side.
func peerAddr(sa unix.Sockaddr) netip.Addr {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap()
	}
	return netip.Addr{}
}
