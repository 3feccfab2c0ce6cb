package nemesis

import (
	"sync"
	"sync/atomic"
	"time"
)

// ledger is the book of one round: what was published, and what each membership received. Publishers and clients write their own pages; the audit reads them all
// while nobody publishes.
type ledger struct {
	epochs atomic.Int64 // the last one begun, of any publisher: no two streams have the same

	mu        sync.Mutex // guards what follows
	opening   int64      // the last epoch of the round before
	published map[streamID]*stream
	members   []*membership // the ended ones of this round, and the open ones
}

func newLedger() *ledger { return &ledger{published: map[streamID]*stream{}} }

// streamID names what one publisher published on one topic while nothing happened to it. Its messages are numbered from 1.
type streamID struct {
	publisher int // a client's number, or -1-i for the backend at NATS server i
	epoch     int64
	topic     int
}

// outcome is what a publisher knows of a message.
type outcome int8

const (
	pending outcome = iota // nothing yet: it may have gone out or not
	handed                 // handed to NATS
	refused                // the publisher was told that it failed
)

// stream is the page of a publisher.
type stream struct {
	id streamID

	mu       sync.Mutex // guards what follows
	messages []message  // number n is at n-1
	broken   bool       // the publisher's own connection broke, or it was told of a gap: what it sent since the fault may be lost
}

type message struct {
	sent    time.Time
	outcome outcome
}

// open begins a stream.
func (l *ledger) open(publisher, topic int) *stream {
	s := &stream{id: streamID{publisher, l.epochs.Add(1), topic}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published[s.id] = s
	return s
}

// next is the number of a message that is sent now.
func (s *stream) next(o outcome) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, message{sent: time.Now(), outcome: o})
	return len(s.messages)
}

func (s *stream) settle(n int, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[n-1].outcome = o
}

func (s *stream) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// ending is why a membership is over.
type ending int8

const (
	standing ending = iota // it is not over
	left                   // the client left, or closed its socket
	told                   // phx_error, or the socket was closed: the client knows that it missed messages
)

// membership is the page of one client that is joined to one topic, from the join's reply on.
type membership struct {
	client, gateway, topic int

	mu       sync.Mutex // guards what follows
	joined   time.Time
	ended    time.Time
	ending   ending
	received map[streamID][]arrival // in the order they came
}

type arrival struct {
	n  int
	at time.Time
}

// join begins a membership.
func (l *ledger) join(client, gateway, topic int) *membership {
	m := &membership{client: client, gateway: gateway, topic: topic, joined: time.Now(), received: map[streamID][]arrival{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = append(l.members, m)
	return m
}

// receive notes a message. It reports whether its stream is of this round.
func (l *ledger) receive(m *membership, id streamID, n int) bool {
	l.mu.Lock()
	current := id.epoch > l.opening
	l.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if current {
		m.received[id] = append(m.received[id], arrival{n, time.Now()})
	}
	return current
}

func (m *membership) end(e ending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ending, m.ended = e, time.Now()
}

// turn begins a new round: every stream is closed, and memberships go on with empty pages. Publishers must begin new streams, and nobody may publish meanwhile.
func (l *ledger) turn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening = l.epochs.Load()
	clear(l.published)
	var open []*membership
	for _, m := range l.members {
		m.mu.Lock()
		if m.ending == standing {
			m.received = map[streamID][]arrival{}
			open = append(open, m)
		}
		m.mu.Unlock()
	}
	l.members = open
}
