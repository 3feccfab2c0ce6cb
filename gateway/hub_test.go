package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

var errNoFlush = errors.New("no flush")

func TestHubSharesOneSubscription(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	h := l.srv.hub
	var confirmed []error
	wait := func(err error) { confirmed = append(confirmed, err) }
	a, ok := h.acquire("room:a", l, wait)
	if ok {
		t.Error("confirmed before the bus said so")
	}
	b, _ := h.acquire("room:a", l, wait)
	if a != b || len(bus.pending) != 1 {
		t.Fatalf("two channels: same topic %v, %d subscriptions", a == b, len(bus.pending))
	}
	bus.confirm(nil)
	if len(confirmed) != 2 || confirmed[0] != nil {
		t.Errorf("told %v", confirmed)
	}
	if _, ok = h.acquire("room:a", l, wait); !ok || len(confirmed) != 2 {
		t.Error("a confirmed topic is waited for")
	}
	for range 3 {
		h.joined("room:a", form(phx.V2))
		h.release(l, a, form(phx.V2), true)
	}
	now := time.Now()
	if h.sweep(now); h.count() != 1 {
		t.Error("a topic did not linger")
	}
	if c, ok := h.acquire("room:a", l, wait); !ok || c == a {
		t.Errorf("back within the linger: confirmed %v, the left topic again %v", ok, c == a)
	}
	if h.sweep(now.Add(time.Hour)); h.count() != 1 {
		t.Error("a topic in use was swept")
	}
	c, _ := h.acquire("room:a", l, wait)
	h.release(l, c, form(phx.V2), false)
	h.release(l, c, form(phx.V2), true)
	if h.sweep(time.Now().Add(h.linger)); h.count() != 0 || len(bus.subscribed) != 0 {
		t.Errorf("after the linger: %d topics, subscribed %v", h.count(), bus.subscribed)
	}
}

func TestHubFailedSubscription(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	h := l.srv.hub
	var first, second []error
	a, _ := h.acquire("room:a", l, func(err error) { first = append(first, err) })
	bus.confirm(errNoFlush)
	if len(first) != 1 || first[0] != errNoFlush {
		t.Fatalf("told %v", first)
	}
	// The next join subscribes anew, while the failed one has not let go yet.
	b, ok := h.acquire("room:a", l, func(err error) { second = append(second, err) })
	if ok || a == b || len(bus.pending) != 1 {
		t.Fatalf("confirmed %v, same topic %v, %d pending", ok, a == b, len(bus.pending))
	}
	h.release(l, a, form(phx.V2), false)
	if h.count() != 1 {
		t.Fatal("letting go of the failed entry took the new one")
	}
	bus.confirm(nil)
	if len(first) != 1 || len(second) != 1 || second[0] != nil {
		t.Errorf("told %v and %v", first, second)
	}
	h.release(l, b, form(phx.V2), false)
	if h.count() != 0 || len(bus.subscribed) != 0 {
		t.Errorf("after a refused join: %d topics, subscribed %v", h.count(), bus.subscribed)
	}
}

// TestHubLateConfirmation: the answer to a subscription that nobody needs any more must not confirm its successor.
func TestHubLateConfirmation(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	h := l.srv.hub
	a, _ := h.acquire("room:a", l, func(error) {})
	h.release(l, a, form(phx.V2), false)
	var told []error
	b, _ := h.acquire("room:a", l, func(err error) { told = append(told, err) })
	bus.confirm(errNoFlush) // of the first
	if len(told) != 0 || h.count() != 1 || !bus.subscribed["room:a"] {
		t.Fatalf("the first one's answer: told %v, %d topics, subscribed %v", told, h.count(), bus.subscribed)
	}
	bus.confirm(nil)
	if len(told) != 1 || told[0] != nil {
		t.Errorf("told %v", told)
	}
	h.release(l, b, form(phx.V2), false)
}

// hubModel is what a random run knows of one held acquire.
type hubModel struct {
	loop   *loop
	topic  *topic
	s      form
	told   int // how often wait was called
	waits  bool
	failed bool
	member bool
}

// TestHubModel runs random joins and leaves of three loops, confirmed late, refused or failed, and compares the books after each step.
func TestHubModel(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 11))
		l, bus := newTestLoop(t, func(cfg *Config) { cfg.Loops = 3 })
		h := l.srv.hub
		var held []*hubModel
		now := time.Now()
		for range 200 {
			switch op := r.IntN(10); {
			case op < 4:
				m := &hubModel{loop: l.srv.loops[r.IntN(3)], s: form(r.IntN(numForms))}
				var ok bool
				m.topic, ok = h.acquire(fmt.Sprintf("room:%d", r.IntN(4)), m.loop, func(err error) {
					m.told++
					m.failed = err != nil
				})
				m.waits = !ok
				held = append(held, m)
			case op < 6 && len(bus.pending) > 0:
				var err error
				if r.IntN(4) == 0 {
					err = errNoFlush
				}
				bus.confirm(err)
			case op < 7 && len(held) > 0:
				m := held[r.IntN(len(held))]
				if !m.member && (!m.waits || m.told == 1 && !m.failed) {
					m.member = true
					h.joined(m.topic.name, m.s)
				}
			case op < 9 && len(held) > 0:
				i := r.IntN(len(held))
				m := held[i]
				held = append(held[:i], held[i+1:]...)
				h.release(m.loop, m.topic, m.s, m.member)
			case op == 9:
				now = now.Add(time.Duration(r.IntN(8)) * time.Second)
				h.sweep(now)
			}
			wantBooks(t, seed, h, bus, held)
		}
		for _, m := range held {
			h.release(m.loop, m.topic, m.s, m.member)
		}
		for len(bus.pending) > 0 {
			bus.confirm(nil)
		}
		h.sweep(now.Add(24 * time.Hour))
		wantBooks(t, seed, h, bus, nil)
		if h.count() != 0 {
			t.Fatalf("seed %d: %d topics are left without members", seed, h.count())
		}
	}
}

// wantBooks compares the hub with what is held.
func wantBooks(t *testing.T, seed uint64, h *hub, bus *fakeBus, held []*hubModel) {
	t.Helper()
	if len(h.topics) != len(bus.subscribed) {
		t.Fatalf("seed %d: %d topics, %d subscriptions", seed, len(h.topics), len(bus.subscribed))
	}
	type books struct {
		refs    int
		members [numForms]int32
	}
	want := map[*hubTopic]*books{}
	for _, m := range held {
		if m.told > 1 || !m.waits && m.told > 0 {
			t.Fatalf("seed %d: a join was told %d times", seed, m.told)
		}
		ht := h.topics[m.topic.name]
		if m.failed {
			if ht != nil && ht.local[m.loop.id] == m.topic {
				t.Fatalf("seed %d: a failed topic is still found", seed)
			}
			continue
		}
		if ht == nil || ht.local[m.loop.id] != m.topic {
			t.Fatalf("seed %d: %s is held but not found", seed, m.topic.name)
		}
		if m.waits != (m.told == 0) && ht.confirmed != (!m.waits || m.told == 1) {
			t.Fatalf("seed %d: confirmed %v, waits %v, told %d", seed, ht.confirmed, m.waits, m.told)
		}
		if want[ht] == nil {
			want[ht] = &books{}
		}
		want[ht].refs++
		if m.member {
			want[ht].members[m.s]++
		}
	}
	for name, ht := range h.topics {
		b := want[ht]
		if b == nil {
			b = &books{}
		}
		local := 0
		for _, lt := range ht.local {
			if lt != nil {
				if lt.refs <= 0 {
					t.Fatalf("seed %d: %s has %d refs on a loop", seed, name, lt.refs)
				}
				local += lt.refs
			}
		}
		_, idle := h.idle[ht]
		if ht.refs != b.refs || local != b.refs || ht.members != b.members || idle != (b.refs == 0) || ht.dead || !bus.subscribed[name] {
			t.Fatalf("seed %d: %s has refs %d (on loops %d), members %v, idle %v, dead %v; want %+v", seed, name, ht.refs, local, ht.members, idle, ht.dead, *b)
		}
	}
}
