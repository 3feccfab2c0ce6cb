package gateway

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller tells a loop which of its descriptors can be read or written. It is an epoll instance (level-triggered) that itself is watched by Go's
// network poller: an idle loop is a parked goroutine and not a thread in a system call, and a busy loop asks epoll without parking.
// It is owned by its loop; only wake may be called from elsewhere.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	epfd   int
	wakefd int
	events []unix.EpollEvent
	n      int                   // events of the last wait
	try    func(fd uintptr) bool // made once: a closure per wait would be an allocation per turn
	err    error
}

// ready is one descriptor that can be read or written. token is what it was added with.
type ready struct {
	token    uint64
	readable bool
	writable bool
}

// wakeToken marks the loop's own wake-up descriptor among the events.
const wakeToken = ^uint64(0)

func newPoller() (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	p := &poller{epfd: epfd, wakefd: -1, events: make([]unix.EpollEvent, 256)}
	if err := unix.SetNonblock(epfd, true); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll descriptor: %w", err)
	}
	if p.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := p.add(p.wakefd, wakeToken); err != nil {
		p.close()
		return nil, err
	}
	p.file = os.NewFile(uintptr(epfd), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll descriptor: %w", err)
	}
	p.try = func(uintptr) bool {
		p.poll()
		return p.n != 0 || p.err != nil
	}
	return p, nil
}

func event(token uint64, writable bool) *unix.EpollEvent {
	ev := &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	if writable {
		ev.Events |= unix.EPOLLOUT
	}
	return ev
}

// add watches fd for reading.
func (p *poller) add(fd int, token uint64) error {
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, event(token, false)); err != nil {
		return fmt.Errorf("epoll_ctl add: %w", err)
	}
	return nil
}

// watchWrite says whether fd is watched for writing too.
func (p *poller) watchWrite(fd int, token uint64, on bool) error {
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, fd, event(token, on)); err != nil {
		return fmt.Errorf("epoll_ctl mod: %w", err)
	}
	return nil
}

// poll asks epoll without waiting.
func (p *poller) poll() {
	for {
		n, err := unix.EpollWait(p.epfd, p.events, 0)
		if err == unix.EINTR {
			continue
		}
		p.n, p.err = max(n, 0), err
		return
	}
}

// wait returns how many descriptors are ready: at once those that are, or, with park, waits for the first. The events are read with at.
func (p *poller) wait(park bool) (int, error) {
	if !park {
		p.poll()
		return p.n, p.err
	}
	if err := p.raw.Read(p.try); err != nil {
		return 0, err
	}
	return p.n, p.err
}

// at returns event i of the last wait.
func (p *poller) at(i int) ready {
	ev := &p.events[i]
	return ready{
		token:    uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32,
		readable: ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0,
		writable: ev.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0,
	}
}

// wake ends a wait. It may be called from any goroutine.
func (p *poller) wake() {
	one := [8]byte{7: 1}
	for {
		if _, err := unix.Write(p.wakefd, one[:]); err != unix.EINTR {
			return // EAGAIN: the counter is full, so it is awake
		}
	}
}

// woken takes the wake-up off the descriptor.
func (p *poller) woken() {
	var buf [8]byte
	for {
		if _, err := unix.Read(p.wakefd, buf[:]); err != unix.EINTR {
			return
		}
	}
}

// close frees the descriptors. The loop must have ended.
func (p *poller) close() {
	if p.file != nil {
		p.file.Close() // closes epfd
	} else if p.epfd >= 0 {
		unix.Close(p.epfd)
	}
	if p.wakefd >= 0 {
		unix.Close(p.wakefd)
	}
}
