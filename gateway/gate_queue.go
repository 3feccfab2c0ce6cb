package gateway

import (
	"net/netip"
	"time"
)

// waiter is one handshake or join on its way through a gate.
type waiter struct {
	done    func(lack) // called once, on any goroutine and with the gate locked, when one that waited may go on (lacksNothing), or is refused since its time is over
	address *address
	state   waiterState
	until   time.Duration // by the gate's clock

	prev, next *waiter // in its queue
}

type waiterState uint8

const (
	waiterOut waiterState = iota
	waiterBlocked
	waiterReady
	waiterPassed
)

// address is what is known of one client address.
type address struct {
	key     netip.Addr
	rate    limiter
	count   int // ready or passed, and not out
	waiters waiters
}

// waiters is a queue.
type waiters struct {
	first, last *waiter
	n           int
}

func (q *waiters) push(w *waiter) {
	w.prev, w.next = q.last, nil
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
}

func (q *waiters) remove(w *waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.n--
}
