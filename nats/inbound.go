package nats

import (
	"strings"
	"sync"
	"sync/atomic"

	natsgo "github.com/nats-io/nats.go"
)

// Bounds of what waits for the reader while it does not keep up, in bytes, what it has taken included.
const (
	// InboxBytes is for all together, unless BoundInbox says otherwise. What comes beyond it is dropped, and a gap of every topic.
	InboxBytes = 64 << 20
	// inboundTopicBytes is for one topic, an eighth of all if that is less, so that a flood of it neither takes the room of others nor keeps them waiting. What comes beyond it is dropped, and a gap of that topic.
	inboundTopicBytes = 8 << 20
)

// arrival is a message on its way to the reader.
type arrival struct {
	msg *natsgo.Msg   // nil: messages of the topic were dropped here
	of  *subscription // of its topic; nil if it is no topic's
}

// inbound is the queue between the Go chan that nats.go fills, bounded by count, and the reader: it is bounded by bytes. A topic that has too much waiting is dropped from there on
// until the reader comes to the place: then a gap of the topic is told, and what comes next is taken again. So nothing that is older than a gap comes after it.
type inbound struct {
	limit, topicLimit int64        // in bytes; a single larger message has room if nothing waits
	bytes             atomic.Int64 // put and not done

	mu     sync.Mutex // guards the rest, and dropping of each subscription
	more   sync.Cond  // there is something, or it is closed
	queue  []arrival
	closed bool
}

func (q *inbound) init() {
	q.more.L = &q.mu
	q.bound(InboxBytes)
}

func (q *inbound) bound(bytes int) {
	q.limit, q.topicLimit = int64(bytes), min(int64(bytes)/8, inboundTopicBytes)
}

// BoundInbox sets how many bytes of messages may wait for the reader. What comes beyond it is dropped, and a gap of every topic. Call it before Start.
func (b *Bus) BoundInbox(bytes int) { b.in.bound(bytes) }

// put appends messages. It reports how many there was no room for, and of how many the topic had too much waiting.
func (q *inbound) put(batch []arrival) (dropped, topicDropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range batch {
		size, s := int64(a.msg.Size()), a.of
		if s != nil && !s.dropping && s.waiting.Load() > 0 && s.waiting.Load()+size > q.topicLimit {
			s.dropping = true
			q.queue = append(q.queue, arrival{of: s})
		}
		switch {
		case s != nil && s.dropping:
			topicDropped++
			continue
		case q.bytes.Load() > 0 && q.bytes.Load()+size > q.limit:
			dropped++
			continue
		case s != nil:
			s.waiting.Add(size)
		}
		q.bytes.Add(size)
		q.queue = append(q.queue, a)
	}
	q.more.Signal()
	return dropped, topicDropped
}

// done gives back the room of a message.
func (q *inbound) done(a arrival) {
	if a.msg == nil {
		return
	}
	size := int64(a.msg.Size())
	q.bytes.Add(-size)
	if a.of != nil {
		a.of.waiting.Add(-size)
	}
}

// resume takes messages of a topic again. Only then is the gap told: what is dropped later is another.
func (q *inbound) resume(s *subscription) {
	q.mu.Lock()
	s.dropping = false
	q.mu.Unlock()
}

// take waits for messages and exchanges the queue for empty; nil when closed.
func (q *inbound) take(empty []arrival) []arrival {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 && !q.closed {
		q.more.Wait()
	}
	if q.closed {
		return nil
	}
	got := q.queue
	q.queue = empty[:0]
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
	batch := make([]arrival, 0, 256)
	for {
		select {
		case m := <-b.msgs:
			batch = append(batch[:0], arrival{msg: m})
		case <-b.quit:
			return
		}
	more:
		for len(batch) < cap(batch) {
			select {
			case m := <-b.msgs:
				batch = append(batch, arrival{msg: m})
			default:
				break more
			}
		}
		dropped, topicDropped := b.in.put(b.sort(batch))
		b.stats.Dropped[dropTopicFull].Add(int64(topicDropped))
		if dropped > 0 {
			b.stats.Dropped[dropInboxFull].Add(int64(dropped))
			b.overflowed()
		}
		clear(batch)
	}
}

// sort finds the subscriptions of a batch's topics. Messages of a topic that was unsubscribed while they were on their way are left out.
func (b *Bus) sort(batch []arrival) []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := batch[:0]
	for _, a := range batch {
		if strings.HasPrefix(a.msg.Subject, b.subjects.topic) {
			if a.of = b.topics[a.msg.Subject]; a.of == nil {
				continue
			}
		}
		kept = append(kept, a)
	}
	return kept
}

// readAll is the reader goroutine: it alone brings messages to the inbox, in the order of arrival.
func (b *Bus) readAll() {
	var batch []arrival
	for {
		if batch = b.in.take(batch); batch == nil {
			return
		}
		for i, a := range batch {
			b.receive(a)
			b.in.done(a)
			batch[i] = arrival{}
		}
		if cap(batch) > chanCount {
			batch = nil // after a burst
		}
	}
}

// receive finds out what a message is by its subject.
func (b *Bus) receive(a arrival) {
	m := a.msg
	if m == nil {
		b.in.resume(a.of)
		b.inbox.GapOf(a.of.topic)
		if b.presence != nil {
			b.presence.GapOf(a.of.topic)
		}
		return
	}
	b.stats.In.Add(1)
	subject := m.Subject
	switch {
	case a.of != nil:
		b.broadcast(a.of.topic, m)
	case strings.HasPrefix(subject, b.requests.prefix):
		if about, why := b.requests.answered(m); why != dropNone {
			b.drop(about, why)
		}
	case strings.HasPrefix(subject, b.subjects.channel):
		b.channel(m)
	case b.presence != nil && strings.HasPrefix(subject, b.presencePrefix):
		b.presenceMessage(m)
	case strings.HasPrefix(subject, b.subjects.socket):
		b.socket(m)
	case strings.HasPrefix(subject, b.subjects.rechecks):
		b.recheck(m)
	case strings.HasPrefix(subject, b.subjects.gateway):
		b.announced(m)
	}
}
