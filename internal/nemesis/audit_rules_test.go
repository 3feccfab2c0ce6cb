package nemesis

import (
	"strings"
	"testing"
	"time"
)

// book is a ledger of one member and one stream whose times a test sets: the fault is at zero, the member joined ten seconds before.
type book struct {
	l     *ledger
	m     *membership
	s     *stream
	fault time.Time

	healed time.Duration // after the fault
}

func newBook(sent ...time.Duration) *book {
	b := &book{l: newLedger(), fault: time.Now()}
	b.m = b.l.join(1, 0, 7)
	b.m.joined = b.fault.Add(-10 * time.Second)
	b.s = b.l.open(2, 7)
	for _, at := range sent {
		b.s.messages = append(b.s.messages, message{sent: b.fault.Add(at), outcome: handed})
	}
	return b
}

// receive has the member receive numbers, each ten milliseconds after it was sent.
func (b *book) receive(numbers ...int) {
	for _, n := range numbers {
		b.l.receive(b.m, b.s.id, n)
		if got := b.m.received[b.s.id]; n <= len(b.s.messages) && len(got) > 0 {
			got[len(got)-1].at = b.s.messages[n-1].sent.Add(10 * time.Millisecond)
		}
	}
}

// end ends the membership at a time after the fault.
func (b *book) end(e ending, at time.Duration) {
	b.m.ending, b.m.ended = e, b.fault.Add(at)
}

func TestAudit(t *testing.T) {
	const s = time.Second
	for name, test := range map[string]struct {
		sent     []time.Duration
		received []int
		also     func(*book)
		want     string // a part of the only finding; "": none
	}{
		"all there":                         {sent: []time.Duration{-5 * s, 0, 5 * s}, received: []int{1, 2, 3}},
		"a hole":                            {sent: []time.Duration{-5 * s, 0, 5 * s}, received: []int{1, 3}, want: "misses 2"},
		"the last one":                      {sent: []time.Duration{-5 * s, 5 * s}, received: []int{1}, want: "misses 2"},
		"nothing at all":                    {sent: []time.Duration{5 * s}, want: "misses 1"},
		"twice":                             {sent: []time.Duration{0, s}, received: []int{1, 2, 2}, want: "2 of {2 1 7} twice"},
		"out of order":                      {sent: []time.Duration{0, s}, received: []int{2, 1}, want: "1 of {2 1 7} after 2"},
		"of nobody":                         {received: []int{1}, also: func(b *book) { clear(b.l.published) }, want: "nobody published"},
		"beyond the end":                    {sent: []time.Duration{0}, received: []int{2}, want: "which has 1"},
		"refused":                           {sent: []time.Duration{s}, also: func(b *book) { b.s.settle(1, refused) }},
		"no answer":                         {sent: []time.Duration{s}, also: func(b *book) { b.s.settle(1, pending) }},
		"publisher broke":                   {sent: []time.Duration{s}, also: func(b *book) { b.s.breakOff() }},
		"publisher broke later":             {sent: []time.Duration{-2 * s}, also: func(b *book) { b.s.breakOff() }, want: "misses 1"},
		"as the join's reply came":          {sent: []time.Duration{s}, also: func(b *book) { b.m.joined = b.fault.Add(s) }},
		"right after the join's reply":      {sent: []time.Duration{s + 1}, also: func(b *book) { b.m.joined = b.fault.Add(s) }, want: "misses 1"},
		"told of the gap":                   {sent: []time.Duration{s, 3 * s}, received: []int{2}, also: func(b *book) { b.end(told, 4*s) }},
		"told, but sent before":             {sent: []time.Duration{-2 * s, 3 * s}, also: func(b *book) { b.end(told, 4*s) }, want: "misses 1"},
		"told of another gap":               {sent: []time.Duration{-5 * s}, also: func(b *book) { b.end(told, -3*s) }, want: "misses 1"},
		"left":                              {sent: []time.Duration{s, 3 * s}, received: []int{1}, also: func(b *book) { b.end(left, 4*s) }},
		"told too late":                     {sent: []time.Duration{s, 3 * s}, received: []int{2}, also: func(b *book) { b.end(told, 3*s+2*tellLimit()) }, want: "misses 1"},
		"told when it was healed":           {sent: []time.Duration{s, 3 * s}, received: []int{2}, also: func(b *book) { b.healed = 9 * s; b.end(told, 9*s+tellLimit()/2) }},
		"left before it was told":           {sent: []time.Duration{s, 3 * s}, received: []int{2}, also: func(b *book) { b.end(left, 4*s) }},
		"left, with a hole":                 {sent: []time.Duration{s, 3 * s}, received: []int{2}, also: func(b *book) { b.end(left, 3*s+2*tellLimit()) }, want: "misses 1"},
		"out of order, publisher broke":     {sent: []time.Duration{0, s}, received: []int{2, 1}, also: func(b *book) { b.s.breakOff() }},
		"twice, although publisher broke":   {sent: []time.Duration{0}, received: []int{1, 1}, also: func(b *book) { b.s.breakOff() }, want: "twice"},
		"another topic":                     {sent: []time.Duration{s}, also: func(b *book) { b.m.topic = 8 }},
		"a round is over and it comes late": {sent: []time.Duration{s}, received: []int{1}, also: func(b *book) { b.l.turn(); b.receive(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(test.sent...)
			b.receive(test.received...)
			if test.also != nil {
				test.also(b)
			}
			a := auditor{fault: b.fault, healed: b.fault.Add(b.healed)}.audit(b.l)
			switch {
			case test.want == "" && len(a.findings) > 0:
				t.Errorf("found %q", a.findings)
			case test.want != "" && (len(a.findings) != 1 || !strings.Contains(a.findings[0], test.want)):
				t.Errorf("found %q, want %q", a.findings, test.want)
			}
		})
	}
}
