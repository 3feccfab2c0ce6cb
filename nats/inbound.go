package nats

import (
	"strings"
	"sync"

	natsgo "github.com/nats-io/nats.go"
)

// InboxBytes is how many bytes may wait for the reader while the loops do not keep up, unless BoundInbox says otherwise.
const InboxBytes = 64 << 20

// inbound is the queue between the Go chan that nats.go fills, bounded by count, and the reader: it is bounded by bytes.
type inbound struct {
	limit int // in bytes; a single larger message has room if nothing waits

	mu     sync.Mutex
	more   sync.Cond // there is something, or it is closed
	queue  []*natsgo.Msg
	bytes  int
	closed bool
}

func (q *inbound) init() { q.limit, q.more.L = InboxBytes, &q.mu }

// BoundInbox sets how many bytes of messages may wait for the reader; twice as much is held while it works on what it took. What comes beyond it is dropped, and a
// gap of every topic. Call it before Start.
func (b *Bus) BoundInbox(bytes int) { b.in.limit = bytes }

// put appends messages and reports how many there was no room for.
func (q *inbound) put(batch []*natsgo.Msg) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range batch {
		size := m.Size()
		if q.bytes+size > q.limit && len(q.queue) > 0 {
			dropped++
			continue
		}
		q.queue = append(q.queue, m)
		q.bytes += size
	}
	q.more.Signal()
	return dropped
}

// take waits for messages and exchanges the queue for empty; nil when closed.
func (q *inbound) take(empty []*natsgo.Msg) []*natsgo.Msg {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 && !q.closed {
		q.more.Wait()
	}
	if q.closed {
		return nil
	}
	got := q.queue
	q.queue, q.bytes = empty[:0], 0
	return got
}

func (q *inbound) close() {
	q.mu.Lock()
	q.closed = true
	q.more.Broadcast()
	q.mu.Unlock()
}

// pullAll is the goroutine that empties nats.go's chan. It waits for nothing else, so that the chan is full only if this process gets no CPU.
func (b *Bus) pullAll() {
	batch := make([]*natsgo.Msg, 0, 256)
	for {
		select {
		case m := <-b.msgs:
			batch = append(batch[:0], m)
		case <-b.quit:
			return
		}
	more:
		for len(batch) < cap(batch) {
			select {
			case m := <-b.msgs:
				batch = append(batch, m)
			default:
				break more
			}
		}
		if n := b.in.put(batch); n > 0 {
			b.stats.Dropped[dropInboxFull].Add(int64(n))
			b.overflowed()
		}
		clear(batch)
	}
}

// readAll is the reader goroutine: it alone brings messages to the inbox, in the order of arrival.
func (b *Bus) readAll() {
	var batch []*natsgo.Msg
	for {
		if batch = b.in.take(batch); batch == nil {
			return
		}
		for i, m := range batch {
			b.receive(m)
			batch[i] = nil
		}
		if cap(batch) > chanCount {
			batch = nil // after a burst
		}
	}
}

// receive finds out what a message is by its subject.
func (b *Bus) receive(m *natsgo.Msg) {
	b.stats.In.Add(1)
	subject := m.Subject
	switch {
	case strings.HasPrefix(subject, b.subjects.topic):
		b.mu.Lock()
		s := b.topics[subject]
		b.mu.Unlock()
		if s != nil { // else it was unsubscribed while the message was on its way
			b.broadcast(s.topic, m)
		}
	case strings.HasPrefix(subject, b.requests.prefix):
		if !b.requests.answered(m) {
			b.stats.Dropped[dropLateAnswer].Add(1)
		}
	case strings.HasPrefix(subject, b.subjects.channel):
		b.channel(m)
	case b.presence != nil && strings.HasPrefix(subject, b.presencePrefix):
		b.presenceMessage(m)
	case strings.HasPrefix(subject, b.subjects.socket):
		b.socket(m)
	}
}
