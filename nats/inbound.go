package nats

import (
	"strings"

	natsgo "github.com/nats-io/nats.go"
)

// readAll is the reader goroutine: it alone feeds the inbox, in the order of arrival.
func (b *Bus) readAll() {
	for {
		select {
		case m := <-b.msgs:
			b.receive(m)
		case <-b.gaps:
			b.inbox.Gap()
		case <-b.quit:
			return
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
	case strings.HasPrefix(subject, b.subjects.socket):
		b.socket(m)
	}
}
