//go:build linux

package main

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// never is a time that does not come.
const never = math.MaxInt64

// clock gives the nanoseconds since a run began, on the monotonic clock.
type clock struct{ epoch time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() int64 { return int64(time.Since(c.epoch)) }

// poller is an epoll instance with a timer and a way to be woken. All but wakeUp belongs to one goroutine.
//
// Sockets are registered once, edge-triggered, for reading and writing: whoever gets an event reads until a read comes
// back short, and until end of file if the event says that the peer has closed.
type poller struct {
	epoll, wake, timer int
	events             []unix.EpollEvent
	timerAt            int64 // when the timer is set to fire; never if it is not
}

// Keys of events that are not a socket's.
const (
	keyWake  = -1
	keyTimer = -2
)

func newPoller() (p *poller, err error) {
	p = &poller{epoll: -1, wake: -1, timer: -1, events: make([]unix.EpollEvent, 1024), timerAt: never}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	if err = p.add(p.wake, keyWake); err != nil {
		return nil, err
	}
	return p, p.add(p.timer, keyTimer)
}

// add registers fd; its events carry key.
func (p *poller) add(fd int, key int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: key}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("add to epoll: %w", err)
	}
	return nil
}

// wait returns events as soon as there are any, at the latest at until. It may return none.
func (p *poller) wait(now, until int64) ([]unix.EpollEvent, error) {
	timeout := -1
	switch {
	case until <= now:
		timeout = 0
	case until != p.timerAt && until != never:
		// epoll's own timeout has milliseconds only, too coarse for pacing.
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(until - now)}
		if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
			return nil, fmt.Errorf("set timer: %w", err)
		}
		p.timerAt = until
	}
	n, err := unix.EpollWait(p.epoll, p.events, timeout)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wait for events: %w", err)
	}
	for _, e := range p.events[:n] {
		if e.Fd == keyTimer {
			p.timerAt = never
		}
	}
	return p.events[:n], nil
}

// wakeUp makes wait return. It may be called from any goroutine before close.
func (p *poller) wakeUp() {
	// It fails only when the counter is full, and then wait returns anyway.
	_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (p *poller) close() {
	for _, fd := range []int{p.epoll, p.wake, p.timer} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
