package nemesis

import (
	"fmt"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// flight is how long before a fault a message that the fault may hit can have been sent: what waits in queues of a busy machine.
func flight() time.Duration { return phxtest.Scaled(500 * time.Millisecond) }

// tellLimit is how long after the first message behind a hole a client may still be told of it.
func tellLimit() time.Duration { return phxtest.Scaled(afterGap + time.Second) }

// audit is what one look at the books found.
type audit struct {
	published int // messages
	received  int // deliveries
	excused   int // deliveries that did not happen, and need not
	missing   int // deliveries that are owed
	findings  []string
}

// findingsShown bounds findings: one fault can touch every client.
const findingsShown = 25

func (a *audit) find(format string, args ...any) {
	if len(a.findings) < findingsShown {
		a.findings = append(a.findings, fmt.Sprintf(format, args...))
	}
}

// auditor knows when this round's fault began.
type auditor struct {
	fault  time.Time // began
	healed time.Time
	slack  time.Duration // beside flight: how long before the end of a membership a message may have been on its way
}

// audit balances the books.
func (r auditor) audit(l *ledger) *audit {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &audit{}
	byTopic := map[int][]*stream{}
	for id, s := range l.published {
		byTopic[id.topic] = append(byTopic[id.topic], s)
		s.mu.Lock()
		a.published += len(s.messages)
		s.mu.Unlock()
	}
	for _, m := range l.members {
		m.mu.Lock()
		for _, s := range byTopic[m.topic] {
			s.mu.Lock()
			r.compare(a, m, s)
			s.mu.Unlock()
		}
		for id := range m.received {
			if l.published[id] == nil {
				a.find("%v received %v, which nobody published", m, id)
			}
		}
		m.mu.Unlock()
	}
	return a
}

// compare holds one member's page against one publisher's.
func (r auditor) compare(a *audit, m *membership, s *stream) {
	got := m.received[s.id]
	a.received += len(got)
	have := make(map[int]bool, len(got))
	last := 0
	for _, one := range got {
		n := one.n
		switch {
		case n < 1 || n > len(s.messages):
			a.find("%v received %d of %v, which has %d", m, n, s.id, len(s.messages))
			return
		case have[n]:
			a.find("%s received %d of %v twice", r.describe(m), n, s.id)
		case n < last && !r.uncertain(s, s.messages[n-1]) && !r.uncertain(s, s.messages[last-1]):
			a.find("%s received %d of %v after %d", r.describe(m), n, s.id, last)
		}
		have[n] = true
		last = max(last, n)
	}
	for i, msg := range s.messages {
		n := i + 1
		switch {
		case have[n]:
		case r.owed(m, s, msg, overtaken(got, n)):
			a.missing++
			a.find("%s misses %d of %v (%d sent), sent %s, outcome %d, broken %v", r.describe(m), n, s.id, len(s.messages), r.at(msg.sent), msg.outcome, s.broken)
		case msg.sent.After(m.joined) && (m.ending == standing || msg.sent.Before(m.ended)):
			a.excused++
		}
	}
}

// overtaken is when the first message behind number n came; zero if none did.
func overtaken(got []arrival, n int) time.Time {
	for _, one := range got {
		if one.n > n {
			return one.at
		}
	}
	return time.Time{}
}

// owed reports whether the member should have received a message that it has not, or been told in time; overtaken is when a later one of the stream came.
func (r auditor) owed(m *membership, s *stream, msg message, overtaken time.Time) bool {
	if r.uncertain(s, msg) || !msg.sent.After(m.joined) {
		return false
	}
	since := overtaken // a gateway may learn of what it missed when it reaches the NATS server again
	if overtaken.After(r.fault) && r.healed.After(overtaken) {
		since = r.healed
	}
	late := !overtaken.IsZero() && m.ended.Sub(since) > tellLimit()
	switch m.ending {
	case left:
		return late // of what was on its way at the end nobody knows, and the client may have left before it was told
	case told:
		first := m.ended
		if r.fault.Before(first) {
			first = r.fault
		}
		return late || msg.sent.Before(first.Add(-flight()-r.slack))
	}
	return true
}

// uncertain reports whether the publisher itself cannot know that NATS has the message.
func (r auditor) uncertain(s *stream, msg message) bool {
	return msg.outcome != handed || s.broken && msg.sent.After(r.fault.Add(-flight()))
}

func (r auditor) describe(m *membership) string {
	text := fmt.Sprintf("client %d at gateway %d, topic %d, joined %s", m.client, m.gateway, m.topic, r.at(m.joined))
	switch m.ending {
	case left:
		return text + ", left " + r.at(m.ended)
	case told:
		return text + ", told " + r.at(m.ended)
	}
	return text
}

// at is a time as seen from the fault.
func (r auditor) at(t time.Time) string {
	if !r.healed.IsZero() && t.After(r.healed) {
		return fmt.Sprintf("healed%+.3fs", t.Sub(r.healed).Seconds())
	}
	return fmt.Sprintf("fault%+.3fs", t.Sub(r.fault).Seconds())
}
