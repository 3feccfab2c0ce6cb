//go:build linux

package main

import (
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// handler is what a scenario makes of one loop's events. Its methods run on the loop, and may call its methods.
type handler interface {
	// message is called for each text message of a joined client; text is valid until it returns. Of a message
	// longer than keepBytes it may hold the beginning only, but comes when all has arrived.
	message(c *client, text []byte)
	// cutOff is called when a joined client ended though it should not, with the error it is counted as.
	cutOff(c *client, why string)
	// turn is called at the end of each turn of the loop. It returns when it wants the next at the latest.
	turn(now int64) (next int64)
}

// loop is one thread's share of a fleet: its clients, and all that happens to them. Everything but the atomic fields
// and the poller's wakeUp belongs to run.
type loop struct {
	fleet   *fleet
	target  *target
	clock   clock
	handler handler

	poll    *poller
	scratch []byte // all reads go here
	keep    int    // how much of a frame is kept while the rest has not arrived
	frame   []byte // short frames to send are made here
	buffers bufferPool
	readAt  int64  // time of the latest read
	accept  string // the Sec-WebSocket-Accept of websocketKey

	clients    []client
	heartbeats []int32 // joined clients by when their heartbeat is due, the soonest first
	dialer     dialer
	joins      *hdrhistogram.Histogram // connect to join reply, µs
	errors     errorCounts

	busy atomic.Int64 // ns not spent waiting, up to the end of the latest turn
}

// scratchBytes is what one read may bring.
const scratchBytes = 256 << 10

// housekeeping is how often a loop looks at what is due when nothing happens.
const housekeeping = 100 * time.Millisecond

// run turns the loop until the fleet stops, then closes every socket.
func (l *loop) run() error {
	defer l.closeAll()
	for !l.fleet.stopped.Load() {
		now := l.clock.now()
		next := min(l.dialer.turn(l, now), l.sendHeartbeats(now), l.handler.turn(now), now+int64(housekeeping))
		idleFrom := l.clock.now()
		l.busy.Add(idleFrom - now)
		events, err := l.poll.wait(idleFrom, next)
		if err != nil {
			return err
		}
		turnFrom := l.clock.now()
		for i := range events {
			if key := events[i].Fd; key >= 0 {
				l.handleEvent(&l.clients[key], events[i].Events)
			}
		}
		l.busy.Add(l.clock.now() - turnFrom)
	}
	return nil
}

// handleEvent reads and writes one client's socket.
func (l *loop) handleEvent(c *client, events uint32) {
	if c.state == ended {
		return // by an earlier event of this turn
	}
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		l.writable(c)
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0 && c.state > connecting {
		l.readable(c, events&(unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0)
	}
}

// readable reads c's socket until it is empty; toEnd: until the end of file that the kernel announced.
func (l *loop) readable(c *client, toEnd bool) {
	for c.state != ended {
		kept := c.in.restore(l.scratch)
		n, err := unix.Read(int(c.fd), l.scratch[kept:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			l.end(c, c.state.String()+": read: "+err.Error())
			return
		case n == 0:
			l.end(c, c.state.String()+": connection closed by server")
			return
		}
		l.readAt = l.clock.now()
		full := kept+n == len(l.scratch)
		l.received(c, l.scratch[:kept+n])
		if !full && !toEnd {
			return
		}
	}
}

// joined notes that c's join was accepted.
func (l *loop) joined(c *client) {
	c.state = joined
	_ = l.joins.RecordValue(micros(l.readAt - c.startedAt))
	c.heartbeatAt = l.readAt + int64(l.fleet.config.heartbeat)
	l.heartbeats = append(l.heartbeats, c.index)
	l.dialer.done()
	l.fleet.joined.Add(1)
	l.fleet.settle()
}

// end closes c's socket, counts why, and tells whoever waited for it.
func (l *loop) end(c *client, why string) {
	was := c.state
	l.close(c)
	c.state = ended
	l.errors.add(why)
	l.fleet.failed.Add(1)
	if was == joined {
		l.handler.cutOff(c, why)
		return
	}
	l.dialer.done()
	l.fleet.settle()
}

// close closes c's socket with a reset: it leaves no TIME_WAIT behind, which would hold its port for a minute and
// spoil the next run.
func (l *loop) close(c *client) {
	if c.fd >= 0 {
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(int(c.fd))
	}
	// What was kept does not go back to the pool: the frame that is being handled may lie in it.
	c.fd, c.unsent, c.in = -1, nil, stream{}
}

// closeAll closes the sockets; the clients' states still tell how far each had come. The poller stays, for whoever
// wants to wake the loop yet.
func (l *loop) closeAll() {
	for i := range l.clients {
		l.close(&l.clients[i])
	}
}

// sendHeartbeats sends those that are due, and ends clients whose last one was not answered, as phoenix.js does
// (assets/js/phoenix/socket.js, heartbeatTimeout). It returns when the next is due.
func (l *loop) sendHeartbeats(now int64) (next int64) {
	for len(l.heartbeats) > 0 {
		c := &l.clients[l.heartbeats[0]]
		if c.state == joined && c.heartbeatAt > now {
			return c.heartbeatAt
		}
		l.heartbeats = l.heartbeats[1:]
		switch {
		case c.state != joined:
			continue
		case c.heartbeatPending:
			l.end(c, "joined: heartbeat not answered")
			continue
		}
		c.heartbeatPending = true
		l.send(c, l.target.heartbeat)
		c.heartbeatAt = now + int64(l.fleet.config.heartbeat)
		l.heartbeats = append(l.heartbeats, c.index)
	}
	return never
}

// control handles a message that is no broadcast of the run: the answer to a heartbeat, or the end of the channel.
// It returns the message for what a scenario may want of it.
func (l *loop) control(c *client, text []byte) (m message, ok bool) {
	if m, ok = parseMessage(text); !ok {
		l.end(c, "protocol: not a V2 message")
		return m, false
	}
	switch event := string(m.event); {
	case m.isReply(heartbeatRef):
		c.heartbeatPending = false
	case event == `"phx_error"` || event == `"phx_close"`:
		l.end(c, "joined: channel ended with "+event[1:len(event)-1])
		return m, false
	}
	return m, true
}

// micros rounds nanoseconds up to whole microseconds, at least 1.
func micros(ns int64) int64 { return max(1, (ns+999)/1000) }
