package gateway

import "sync"

// mail is something that another goroutine wants a loop to do.
type mail interface{ deliver(l *loop) }

// mailFunc is a mail that is a function.
type mailFunc func(l *loop)

func (f mailFunc) deliver(l *loop) { f(l) }

// Bounds of a loop's mailbox for what comes from the bus: beyond either, the bus waits. What loops, authorizers and timers post is
// bounded by the number of sockets and is always taken.
const (
	mailboxCount = 64 << 10
	mailboxBytes = 64 << 20
)

// mailbox is how other goroutines speak to a loop. The zero value is not ready: use newMailbox.
type mailbox struct {
	wake func() // ends the loop's wait

	mu      sync.Mutex
	room    sync.Cond // signalled when the loop took what there was
	mails   []mail
	bytes   int
	asleep  bool // the loop waits, or is about to
	stopped bool // nobody will read any more
}

func newMailbox(wake func()) *mailbox {
	m := &mailbox{wake: wake}
	m.room.L = &m.mu
	return m
}

// post hands over a mail and never waits.
func (m *mailbox) post(x mail) {
	m.mu.Lock()
	m.append(x, 0)
}

// postBounded hands over a mail of a size in bytes and waits while the mailbox is full.
func (m *mailbox) postBounded(x mail, size int) {
	m.mu.Lock()
	for (len(m.mails) >= mailboxCount || m.bytes >= mailboxBytes) && !m.stopped {
		m.room.Wait()
	}
	m.append(x, size)
}

// append puts x in, unlocks, and wakes the loop if it sleeps.
func (m *mailbox) append(x mail, size int) {
	if m.stopped {
		m.mu.Unlock()
		return
	}
	m.mails = append(m.mails, x)
	m.bytes += size
	wake := m.asleep
	m.asleep = false
	m.mu.Unlock()
	if wake {
		m.wake()
	}
}

// take exchanges what arrived for the empty slice that the loop gives back.
func (m *mailbox) take(empty []mail) []mail {
	m.mu.Lock()
	got := m.mails
	m.asleep = false
	if len(got) == 0 {
		m.mu.Unlock()
		return empty[:0]
	}
	m.mails, m.bytes = empty[:0], 0
	m.room.Broadcast()
	m.mu.Unlock()
	return got
}

// sleep says that the loop is about to wait; false means that there is mail and it must not.
func (m *mailbox) sleep() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asleep = len(m.mails) == 0
	return m.asleep
}

// stop refuses all further mail and lets waiting posters go.
func (m *mailbox) stop() {
	m.mu.Lock()
	m.stopped = true
	m.mails = nil
	m.room.Broadcast()
	m.mu.Unlock()
}
