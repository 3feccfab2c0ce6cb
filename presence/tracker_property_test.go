package presence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// wish is a channel as the test wants it to be seen.
type wish struct {
	g      *fakeGateway
	topic  string
	socket string
	keys   map[string]string // key to meta
	key    string            // that it joined with; "": none
}

// storm does random things to a fleet and remembers what they should come to.
type storm struct {
	*fleet
	r      *rand.Rand
	wishes map[string]*wish // by channel id
	n      int
}

func (s *storm) meta() string { return fmt.Sprintf(`{"n":%d}`, s.r.IntN(3)) }

func (s *storm) gateway() *fakeGateway { return s.gateways[fmt.Sprintf("g%d", s.r.IntN(2))] }

func (s *storm) topic() string { return fmt.Sprintf("room:%d", s.r.IntN(3)) }

// channel is one of those that are joined, "" if there is none.
func (s *storm) channel() string {
	ids := slices.Sorted(maps.Keys(s.wishes))
	if len(ids) == 0 {
		return ""
	}
	return ids[s.r.IntN(len(ids))]
}

func (s *storm) join(w *wish) {
	s.n++
	channel := fmt.Sprintf("%s.0.%d", w.g.id, s.n)
	s.wishes[channel] = w
	w.g.join(channel, w.topic, joining{socket: w.socket, key: w.key, meta: w.keys[w.key]})
}

// step does one thing.
func (s *storm) step() {
	channel := s.channel()
	w := s.wishes[channel]
	switch n := s.r.IntN(100); {
	case n < 25 || w == nil:
		w = &wish{g: s.gateway(), topic: s.topic(), keys: map[string]string{}}
		if s.r.IntN(4) > 0 {
			w.key = fmt.Sprintf("u%d", s.r.IntN(4))
			w.keys[w.key] = s.meta()
		}
		if s.r.IntN(4) > 0 {
			w.socket = "s:" + w.key
		}
		s.join(w)
	case n < 35:
		delete(s.wishes, channel)
		w.g.leave(channel, false)
	case n < 50: // it ends for no fault of its user, who comes back, perhaps, somewhere
		delete(s.wishes, channel)
		w.g.leave(channel, true)
		if s.r.IntN(3) > 0 {
			s.pass(time.Duration(s.r.IntN(3000)) * time.Millisecond)
			back := &wish{g: w.g, topic: w.topic, socket: w.socket, key: w.key, keys: map[string]string{}}
			if s.r.IntN(3) == 0 {
				back.g = s.gateway()
			}
			if w.key != "" {
				back.keys[w.key] = w.keys[w.key]
				if s.r.IntN(4) == 0 || back.keys[w.key] == "" {
					back.keys[w.key] = s.meta()
				}
			}
			s.join(back)
		}
	case n < 65:
		meta := s.meta()
		if _, ok := w.keys[w.key]; ok {
			w.keys[w.key] = meta
		}
		w.g.Update(channel, []string{"n"}, []byte(meta), func(error) {})
	case n < 72:
		key, meta := fmt.Sprintf("u%d", s.r.IntN(4)), s.meta()
		if _, ok := w.keys[key]; !ok {
			w.keys[key] = meta
		}
		s.order(w, "track", channel, key, meta)
	case n < 77:
		key := fmt.Sprintf("u%d", s.r.IntN(4))
		delete(w.keys, key)
		s.order(w, "untrack", channel, key, "")
	case n < 79:
		s.giveUp(s.gateway())
	case n < 80:
		s.renewBucket()
	case n < 84:
		g := s.gateway()
		s.set(func() { g.away = true })
		s.pass(time.Duration(s.r.IntN(2000)) * time.Millisecond)
		s.set(func() { g.away = false })
		g.Gap()
	case n < 86:
		s.set(func() { s.absent = !s.absent })
	case n < 89:
		s.set(func() { s.muted = !s.muted })
		if !s.muted {
			s.gap()
		}
	case n < 91:
		s.set(func() { s.deaf = !s.deaf })
	case n < 93:
		s.set(func() { s.forgets = !s.forgets })
	case n < 97:
		s.set(func() { s.loseAcks += s.r.IntN(5) })
	default:
		s.set(func() { s.loseStores += s.r.IntN(5) })
	}
}

// order sends a backend's order; it is carried out, whoever waits for the answer.
func (s *storm) order(w *wish, op, channel, key, meta string) {
	u := &Update{Topic: w.topic, Channel: channel, Op: op, Key: &key}
	if meta != "" {
		u.Meta = []byte(meta)
	}
	w.g.Message(mustJSON(&ToGateway{Update: u}), nil)
	synctest.Wait()
}

// gap says to everybody that messages may have been missed.
func (s *storm) gap() {
	for _, g := range s.gateways {
		g.Gap()
	}
}

// judge has gateways begin anew that greet and are not registered.
func (s *storm) judge() {
	for _, g := range s.gateways {
		s.mu.Lock()
		var unknown string
		if n := len(g.hellos); n > 0 && !s.state.Registered(g.hellos[n-1].Incarnation) {
			unknown = g.hellos[n-1].Incarnation
		}
		g.hellos = nil
		s.mu.Unlock()
		if unknown != "" {
			g.Message(mustJSON(&ToGateway{Reset: unknown}), nil)
		}
	}
}

// calm ends all that goes wrong, and waits until nobody has anything left to do.
func (s *storm) calm() {
	s.set(func() {
		s.absent, s.muted, s.deaf, s.forgets, s.loseAcks, s.loseStores = false, false, false, false, 0, 0
	})
	for range 40 {
		s.pass(time.Second)
		s.judge()
	}
	s.gap()
	s.pass(10 * time.Second)
}

// TestWishesComeTrue: whatever is lost, doubled, late, given up or made anew, in the end the bucket says what the channels track, and so does every client's list.
func TestWishesComeTrue(t *testing.T) {
	n := 60
	if testing.Short() {
		n = 10
	}
	seeds(t, n, func(t *testing.T, r *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			s := &storm{fleet: startFleet(t, 2, lingerFor), r: r, wishes: map[string]*wish{}}
			s.set(func() { s.rand = rand.New(rand.NewPCG(r.Uint64(), 1)) })
			for range 300 {
				s.step()
				s.pass(time.Duration(r.IntN(40)) * time.Millisecond)
				if r.IntN(20) == 0 {
					s.judge()
				}
			}
			s.calm()
			want := map[string][]string{}
			for _, w := range s.wishes {
				for key, meta := range w.keys {
					want[w.topic] = append(want[w.topic], key+" "+bare([]byte(meta)))
				}
			}
			for i := range 3 {
				topic := fmt.Sprintf("room:%d", i)
				s.wantSeen(topic, want[topic]...)
			}
			s.wantLists()
			for id, g := range s.gateways {
				tracked := 0
				for _, w := range s.wishes {
					if w.g == g {
						tracked += len(w.keys)
					}
				}
				if got := len(g.entries.all); got != tracked {
					t.Fatalf("%s keeps %d entries, want %d", id, got, tracked)
				}
				if e := &g.entries; !e.settled() || len(e.away) != 0 || len(e.places) != 0 || len(g.checks) == 0 {
					t.Fatalf("%s is left with %d under way, %d away, %d places", id, e.underWay, len(e.away), len(e.places))
				}
			}
		})
	})
}
