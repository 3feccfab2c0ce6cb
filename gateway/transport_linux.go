package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// epollTransport moves the bytes of sockets that are bare descriptors in their loop's poller. It has no state but the socket's fd.
type epollTransport struct{ l *loop }

// errPeerClosed says that the client's side of the TCP connection ended.
var errPeerClosed = io.EOF

// read fills buf; n is 0 and err nil if nothing is there.
func (t epollTransport) read(s *socket, buf []byte) (int, error) {
	for {
		n, err := unix.Read(int(s.fd), buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, errPeerClosed
		}
		return n, nil
	}
}

func (t epollTransport) write(s *socket, o *outbox) (blocked bool, err error) {
	for !o.empty() {
		n, err := unix.Write(int(s.fd), o.next(t.l.gather))
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			return false, err
		}
		o.written(n)
	}
	blocked = !o.empty()
	if blocked != s.watchesWrite {
		s.watchesWrite = blocked
		err = t.l.poller.watchWrite(int(s.fd), s.token(), blocked)
	}
	return blocked, err
}

func (t epollTransport) closeWrite(s *socket) { _ = unix.Shutdown(int(s.fd), unix.SHUT_WR) }

func (t epollTransport) close(s *socket, abort bool) {
	if abort {
		_ = unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(int(s.fd))
	s.fd = -1
}

// detach takes the descriptor out of the poller and makes it a net.Conn, which belongs to the caller.
func (t epollTransport) detach(s *socket) (net.Conn, error) {
	fd := int(s.fd)
	s.fd = -1
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // FileConn duplicates; closing the last loop-side descriptor takes it out of epoll
	if err := unix.EpollCtl(t.l.poller.epfd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// acceptor takes connections off a TCP listener's descriptor without giving them to Go's poller.
type acceptor struct {
	file *os.File // a duplicate of the listener's descriptor: net's listeners do not let others wait for theirs
	raw  syscall.RawConn
	fds  []accepted // what one wake-up accepted
}

type accepted struct {
	fd   int
	peer unix.Sockaddr
}

// newAcceptor makes an acceptor; close it to end accept.
func newAcceptor(ln *net.TCPListener) (*acceptor, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var opt error
	err = raw.Control(func(lfd uintptr) {
		// Accepted sockets inherit these.
		opt = errors.Join(
			unix.SetsockoptInt(int(lfd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.SetsockoptInt(int(lfd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(int(lfd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer),
		)
		if opt == nil {
			fd, opt = unix.FcntlInt(lfd, unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err = errors.Join(err, opt); err != nil {
		return nil, err
	}
	a := &acceptor{file: os.NewFile(uintptr(fd), "listener")}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return nil, err
	}
	return a, nil
}

// accept waits for connections and returns those that are there, at most 64.
func (a *acceptor) accept() ([]accepted, error) {
	a.fds = a.fds[:0]
	var acceptErr error
	err := a.raw.Read(func(lfd uintptr) bool {
		for len(a.fds) < 64 {
			fd, sa, err := unix.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch err {
			case nil:
				a.fds = append(a.fds, accepted{fd, sa})
			case unix.EINTR, unix.ECONNABORTED:
			case unix.EAGAIN:
				return len(a.fds) > 0
			default:
				acceptErr = err
				return true
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return a.fds, acceptErr
}
