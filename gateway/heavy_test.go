package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// floodPadding makes a flood's messages 100 KB.
var floodPadding = strings.Repeat("y", 100_000)

// notifying is a loop whose channels are told of gaps by an event.
func notifying(t *testing.T) (*loop, *fakeBus) {
	t.Helper()
	return newTestLoop(t, func(cfg *Config) {
		set, err := rules.Parse("rules.yaml", []byte("channels:\n  - {topic: \"room:*\", join: allow, on_gap: notify}\n"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Rules, cfg.OutboundBytes = set, 300_000
	})
}

// flood broadcasts message n.
func flood(l *loop, topic string, n int) {
	l.srv.Broadcast(&Broadcast{Topic: topic, Event: "e", Payload: fmt.Appendf(nil, `{"n":%d,"x":"%s"}`, n, floodPadding)})
}

// slice is one turn of a loop with more to write than it may at once.
func slice(l *loop) (idle bool) {
	deliver(l)
	l.flushTopics()
	l.flushSockets()
	return l.flushHeavy()
}

func deliver(l *loop) {
	for _, m := range l.mailbox.take(nil) {
		m.deliver(l)
	}
	l.work = 0
}

// heard is what a member received, in short: "e5" for message 5 of a flood, "mine5" for a push, "gap".
func heard(t *testing.T, ch *channel) (short []string) {
	t.Helper()
	for _, text := range received(t, ch) {
		_, rest, _ := strings.Cut(text, `"room:`)
		_, rest, _ = strings.Cut(rest, `","`)
		event, rest, _ := strings.Cut(rest, `",`)
		number, _, _ := strings.Cut(strings.TrimPrefix(rest, `{"n":`), ",")
		switch event {
		case "gap":
			short = append(short, event)
		case "e", "mine":
			short = append(short, event+number)
		}
	}
	return short
}

// pass moves a loop's time on.
func pass(l *loop, n tick) {
	for range n {
		tickMail(l.now + 1).deliver(l)
	}
	turn(l)
}

// TestFloodTakesTurns: however much a topic brings, a turn writes a slice of it, and others' broadcasts and replies leave in the turn that they came in.
func TestFloodTakesTurns(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	const n = 300
	transports := members(t, l, bus, "room:flood", n, false, keeping)
	quiet := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:quiet")
	received(t, quiet)
	written := func() (bytes int) {
		for _, ch := range transports {
			tr := ch.socket.tr.(*fakeTransport)
			bytes += len(tr.written)
			tr.written = nil
		}
		return bytes
	}
	written() // the join replies
	const total = 20
	for i := range total {
		flood(l, "room:flood", i)
	}
	sum, turns := 0, 0
	for idle := false; !idle; turns++ {
		l.srv.Broadcast(&Broadcast{Topic: "room:quiet", Event: "e", Payload: []byte(`{}`)})
		frame, reply := heartbeat("7")
		l.feed(quiet.socket, frame)
		idle = slice(l)
		wantReceived(t, quiet, reply, `[null,null,"room:quiet","e",{}]`)
		bytes := written()
		if sum += bytes; bytes > 2*sliceWork {
			t.Fatalf("turn %d: %d bytes of a flood, want about %d", turns, bytes, sliceWork)
		}
	}
	if sum < total*n*len(floodPadding) {
		t.Errorf("%d bytes were written, want all of %d messages to %d members", sum, total, n)
	}
	if len(l.heavy)+len(l.round)+l.heavyBytes != 0 {
		t.Errorf("when all is written: %d heavy topics, %d sockets, %d bytes", len(l.heavy), len(l.round), l.heavyBytes)
	}
	for i, ch := range transports {
		if ch.socket.state != open {
			t.Fatalf("member %d was aborted, though it reads", i)
		}
	}
}

// TestFloodIsAGap: what a topic has too much waiting is dropped, its members alone are told, after all that came before, and what comes after is taken.
func TestFloodIsAGap(t *testing.T) {
	l, bus := notifying(t)
	ch := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:flood")
	other := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:other")
	flood(l, "room:flood", 0)
	flood(l, "room:flood", 1)
	slice(l)
	if l.srv.Full("room:flood") {
		t.Error("full, though nothing was dropped")
	}
	const total = 3 * heavyTopicBytes / 100_000
	for i := 2; i < total; i++ {
		flood(l, "room:flood", i)
	}
	slice(l)
	if !l.srv.Full("room:flood") || l.srv.Full("room:other") || l.srv.Full("room:nobody") {
		t.Error("only a topic that drops is full")
	}
	flood(l, "room:flood", total) // there is room again, but the gap is not told yet
	turn(l)
	got := heard(t, ch)
	dropped := int(l.stats.dropped.n[droppedTopicFull].load())
	if dropped == 0 || len(got)+dropped != total+1 || len(got) < heavyTopicBytes/110_000 {
		t.Fatalf("of %d messages %d came, %d were dropped", total, len(got), dropped)
	}
	for i, e := range got {
		if e != fmt.Sprintf("e%d", i) {
			t.Fatalf("message %d is %s", i, e)
		}
	}
	if l.srv.Full("room:flood") {
		t.Error("still full, though nothing waits")
	}
	flood(l, "room:flood", total+1)
	turn(l)
	pass(l, 20)
	if got := strings.Join(heard(t, ch), " "); got != fmt.Sprintf("e%d gap", total+1) {
		t.Errorf("afterwards: %s", got)
	}
	if got := heard(t, other); len(got) != 0 {
		t.Errorf("a member of another topic got %v", got)
	}
}

// TestGapOfTopic: what was dropped before it came to the gateway is a gap behind what the gateway has, of that topic alone.
func TestGapOfTopic(t *testing.T) {
	l, bus := notifying(t)
	ch := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:a")
	other := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:b")
	for i := range 3 { // told once
		flood(l, "room:a", i)
		l.srv.GapOf("room:a")
		l.srv.GapOf("room:nobody")
		turn(l)
	}
	pass(l, 20)
	if got := strings.Join(heard(t, ch), " "); got != "e0 e1 e2 gap" {
		t.Errorf("got %s", got)
	}
	if got := heard(t, other); len(got) != 0 {
		t.Errorf("a member of another topic got %v", got)
	}
}

// TestHeavyFromMember: of a heavy topic's broadcasts, one who sent some and is pushed to in between gets the others, once, around the push.
func TestHeavyFromMember(t *testing.T) {
	l, bus := newTestLoop(t, func(cfg *Config) { cfg.OutboundBytes = 10_000 })
	a := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:a")
	b := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:a")
	var wantA, wantB []string
	send := func(from, to int) {
		for i := from; i < to; i++ {
			m := &Broadcast{Topic: "room:a", Event: "e", Payload: fmt.Appendf(nil, `{"n":%d,"x":"%s"}`, i, floodPadding[:1000])}
			wantB = append(wantB, fmt.Sprint("e", i))
			if i%2 == 1 {
				m.From = a.id()
			} else {
				wantA = append(wantA, fmt.Sprint("e", i))
			}
			l.srv.Broadcast(m)
		}
	}
	send(0, 18)
	slice(l) // the first round
	if a.topic.pending == nil || !a.topic.pending.heavy {
		t.Fatal("the topic is not heavy")
	}
	l.srv.Channel(&ChannelMessage{Channel: a.id(), Event: "mine", Payload: []byte(`{"n":0,"x":0}`)})
	deliver(l)
	wantA = append(wantA, "mine0")
	send(18, 30)
	turn(l)
	for _, m := range []struct {
		ch   *channel
		want []string
	}{{a, wantA}, {b, wantB}} {
		if got := heard(t, m.ch); strings.Join(got, " ") != strings.Join(m.want, " ") {
			t.Errorf("member %d got %v, want %v", m.ch.member, got, m.want)
		}
	}
}

// follower checks what one member gets.
type follower struct {
	ch      *channel
	from    int         // the first message after its join
	last    int         // the last message that it got
	behind  map[int]int // pushes under way, by how many messages were sent before
	untold  int         // the last message that it missed and was not told of since; -1: none
	covered int         // all messages before this one came before it was told of a gap
}

// follow reads what came. ticked is how many messages were sent when gaps were last told.
func (f *follower) follow(t *testing.T, seed uint64, ticked int) {
	for _, e := range heard(t, f.ch) {
		var n int
		switch {
		case e == "gap":
			f.covered = ticked
			if f.untold < ticked {
				f.untold = -1
			}
		case strings.HasPrefix(e, "mine"):
			fmt.Sscanf(e, "mine%d", &n)
			if f.behind[n] == 0 || f.last >= n {
				t.Fatalf("seed %d: message %d came before the push that was sent before message %d", seed, f.last, n)
			}
			f.came(n)
			f.last = n - 1
			if f.behind[n]--; f.behind[n] == 0 {
				delete(f.behind, n)
			}
		default:
			fmt.Sscanf(e, "e%d", &n)
			if n < f.from || n <= f.last {
				t.Fatalf("seed %d: message %d came behind %d, to a member from %d on", seed, n, f.last, f.from)
			}
			f.came(n)
			f.last = n
		}
	}
}

// came notes that all before message n has come, or never will.
func (f *follower) came(n int) {
	if n > max(f.last+1, f.covered) {
		f.untold = n - 1
	}
}

// TestFloodModel floods a topic at random, among pushes, joins and leaves, and follows each member: order, nothing from before a join, nothing twice, and no gap that is not told.
func TestFloodModel(t *testing.T) {
	gaps := 0
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 17))
		l, bus := notifying(t)
		next, ticked := 0, 0
		var all []*follower
		enter := func() {
			s := openSocket(l, keeping(), phx.V2)
			deliver(l) // what is in the mailbox may come after a join
			l.feed(s, clientText(`["1","1","room:a","phx_join",{}]`))
			for len(bus.pending) > 0 {
				bus.confirm(nil)
			}
			deliver(l)
			all = append(all, &follower{ch: s.channelOf("room:a"), from: next, last: next - 1, untold: -1, behind: map[int]int{}})
		}
		enter()
		turn(l)
		for range 40 {
			switch op := r.IntN(10); {
			case op < 4:
				for range r.IntN(80) {
					flood(l, "room:a", next)
					next++
				}
			case op < 6:
				f := all[r.IntN(len(all))]
				l.srv.Channel(&ChannelMessage{Channel: f.ch.id(), Event: "mine", Payload: fmt.Appendf(nil, `{"n":%d,"x":0}`, next)})
				f.behind[next]++
			case op == 6 && len(all) < 6:
				enter()
			case op == 7 && len(all) > 1:
				i := r.IntN(len(all))
				l.feed(all[i].ch.socket, clientText(`["1","2","room:a","phx_leave",{}]`))
				all = append(all[:i], all[i+1:]...)
			case op == 8:
				ticked = next
				tickMail(l.now + 1).deliver(l)
			default:
				slice(l)
			}
			for _, f := range all {
				f.follow(t, seed, ticked)
			}
		}
		turn(l)
		ticked = next
		pass(l, 20)
		flood(l, "room:a", next)
		turn(l)
		gaps += int(l.stats.topicGaps.load())
		for i, f := range all {
			f.follow(t, seed, ticked)
			if f.ch.socket.state == open && (f.last != next || f.untold >= 0 || len(f.behind) > 0) {
				t.Fatalf("seed %d: member %d of %d got message %d last, of %d; was not told that it misses %d; pushes that did not come: %v", seed, i, len(all), f.last, next, f.untold, f.behind)
			}
		}
	}
	if gaps == 0 {
		t.Error("no run had a gap: nothing was tried")
	}
}
