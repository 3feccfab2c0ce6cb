package nats

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// flood is what the tests' floods consist of, in bytes a message.
const flood = 256 << 10

func floodBody(n int) string {
	return fmt.Sprintf(`{"event":"e","payload":{"n":%d,"x":"%s"}}`, n, strings.Repeat("y", flood))
}

// TestOverflowIsAGap: where the loops do not keep up, what waits is bounded by bytes, the rest is dropped, and the gateway is told.
func TestOverflowIsAGap(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	r := &recorder{gate: make(chan struct{})}
	b := startBusWith(t, url, r)
	// So many that none of them has too much waiting.
	const topics = 2 * InboxBytes / inboundTopicBytes
	var names []string
	for i := range topics {
		names = append(names, fmt.Sprintf("room:%d", i))
	}
	subscribe(t, b, names...)
	nc := backend(t, url)
	const total = InboxBytes/flood + 100
	for i := range total {
		publish(t, nc, fmt.Sprintf("phx.topic.room.%d", i%topics), floodBody(i))
	}
	waitFor(t, "the gap is told", func() bool { return r.count("gap") > 0 })
	if b.stats.Dropped[dropInboxFull].Load() == 0 {
		t.Error("a gap, but nothing was counted as dropped")
	}
	close(r.gate)
	arrives(t, nc, r, "phx.topic.room.0", "topic room:0 back {}")
	if n := b.stats.Dropped[dropInboxFull].Load(); n > 100+1 {
		t.Errorf("%d of %d messages were dropped: less than the bound waited", n, total)
	}
	if n := b.stats.Dropped[dropTopicFull].Load(); n > 0 {
		t.Errorf("%d messages were dropped for what their topic had waiting", n)
	}
}

// TestFloodIsAGapOfItsTopic: a topic that floods the inbox loses its own messages only. The gap is told behind all that came before it and before all that comes after.
func TestFloodIsAGapOfItsTopic(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	r := &recorder{gate: make(chan struct{})}
	b := startBusWith(t, url, r)
	subscribe(t, b, "room:flood", "room:quiet")
	nc := backend(t, url)
	const total = 4 * inboundTopicBytes / flood
	for i := range total {
		publish(t, nc, "phx.topic.room.flood", floodBody(i))
	}
	publish(t, nc, "phx.topic.room.quiet", `{"event":"e","payload":{}}`)
	waitFor(t, "all came in", func() bool {
		return b.in.bytes.Load() > inboundTopicBytes-2*flood && len(b.msgs) == 0 && b.stats.Dropped[dropTopicFull].Load() > 0
	})
	close(r.gate)
	waitFor(t, "the quiet topic's message", func() bool { return r.count("topic room:quiet e {}") == 1 })
	arrives(t, nc, r, "phx.topic.room.flood", "topic room:flood back {}")

	r.mu.Lock()
	defer r.mu.Unlock()
	gap := slices.Index(r.lines, "gap of room:flood")
	if gap < 0 {
		t.Fatal("no gap was told")
	}
	last, came := -1, 0
	for i, line := range r.lines {
		rest, ok := strings.CutPrefix(line, `topic room:flood e {"n":`)
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(number)
		if err != nil || n <= last || i < gap && n != last+1 {
			t.Fatalf("flood message %s came after %d, without a gap in between", number, last)
		}
		last = n
		came++
	}
	if dropped := int(b.stats.Dropped[dropTopicFull].Load()); came+dropped != total || came < inboundTopicBytes/flood-1 {
		t.Errorf("of %d messages %d came, %d were dropped", total, came, dropped)
	}
	if slices.Contains(r.lines, "gap") || b.stats.Dropped[dropInboxFull].Load() > 0 {
		t.Error("others had a gap too")
	}
	if n := b.in.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted in an empty queue", n)
	}
}

// TestInboundModel puts and takes at random and compares what comes out with what went in: each message comes or is told as a gap behind it, and nobody has more than a share waiting.
func TestInboundModel(t *testing.T) {
	zeros := make([]byte, 2*inboundTopicBytes/5)
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		var q inbound
		q.init()
		subs := []*subscription{{topic: "a"}, {topic: "b"}, nil}
		type fate struct{ put, got int } // numbers of the next message
		fates := map[*subscription]*fate{subs[0]: {}, subs[1]: {}, subs[2]: {}}
		missing := map[*subscription]bool{} // put was refused, and no gap told since
		var taken []arrival
		for range 400 {
			s := subs[r.IntN(3)]
			if r.IntN(3) > 0 {
				m := &natsgo.Msg{Data: zeros[:1+r.IntN(len(zeros))], Subject: fmt.Sprint(fates[s].put)}
				fates[s].put++
				if dropped, topicDropped := q.put([]arrival{{m, s}}); dropped+topicDropped > 0 {
					if s == nil && topicDropped > 0 {
						t.Fatalf("seed %d: what is no topic's was dropped as one's", seed)
					}
					if dropped > 0 {
						fates[s].put-- // a gap of everything, which the bus tells
					} else {
						missing[s] = true
					}
				}
				continue
			}
			if len(taken) == 0 && len(q.queue) > 0 {
				taken = q.take(nil)
			}
			for range r.IntN(4) {
				if len(taken) == 0 {
					break
				}
				a := taken[0]
				taken = taken[1:]
				f := fates[a.of]
				if a.msg == nil {
					q.resume(a.of)
					delete(missing, a.of)
					f.got = f.put // all that was put until now came before or is missed
					continue
				}
				if a.msg.Subject != fmt.Sprint(f.got) {
					t.Fatalf("seed %d: message %s came in the place of %d", seed, a.msg.Subject, f.got)
				}
				f.got++
				q.done(a)
			}
			for _, s := range subs[:2] {
				if n := s.waiting.Load(); n < 0 || n > inboundTopicBytes {
					t.Fatalf("seed %d: %d bytes of one topic wait", seed, n)
				}
			}
		}
		for _, a := range append(taken, q.queue...) {
			if a.msg == nil {
				q.resume(a.of)
				delete(missing, a.of)
			}
			q.done(a)
		}
		if len(missing) > 0 || q.bytes.Load() != 0 {
			t.Fatalf("seed %d: %d topics missed messages and were not told; %d bytes are counted in an empty queue", seed, len(missing), q.bytes.Load())
		}
	}
}
