//go:build linux

package ceilings

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// The flood: for how long, how many messages a second, of how many bytes. With 2,000 members it wants 200 GB written a second, some fifty times what a processor can; the publisher and
// the NATS server, who share the machine with the clients that measure, need a small part of it.
const (
	floodTime    = 4 * time.Second
	floodRate    = 500
	floodMessage = 200_000
)

// floodShare is what one topic may have waiting for the bus's reader, and again for a loop; mailboxBytes is what may wait in between.
const (
	floodShare   = 8 << 20
	mailboxBytes = 64 << 20
)

// busInbox: a publisher floods a topic whose members cannot keep up: half never read, half are read by one goroutine as fast as it can. The gateway has
// one processor. What is too much is dropped and counted, and no member that reads is left guessing: it is aborted, told by phx_error, or still served. Nobody else notices: neither a gap, nor in
// the times of heartbeats and of a quiet topic's broadcasts.
func busInbox(t *testing.T, c *ceilings) {
	members := sized(2000)
	a := c.arena(t, "bus inbox", "GOMAXPROCS=1", "GAP_SPREAD=2s")
	deaf := dial(t, a.addr, members/2, tinyBuffer)
	deaf.join(t, "room:flood")
	reading := dial(t, a.addr, members/2, 0)
	reading.join(t, "room:flood")
	quiet := dial(t, a.addr, healthyMembers, 0)
	quiet.join(t, "room:quiet")
	flooded, bystanders := newListener(t, reading), newListener(t, quiet)
	publisher := a.connectNATS()
	body := []byte(`{"event":"flood","payload":{"x":"` + strings.Repeat("x", floodMessage) + `"}}`)

	told, err := a.nats.SubscribeSync("phx.dropped")
	if err != nil {
		t.Fatal(err)
	}

	published := 0
	a.press(members, func() {
		flooding := make(chan struct{})
		go func() {
			defer close(flooding)
			paced(int(floodTime.Seconds()*floodRate), floodRate, func(int) {
				if err := publisher.Publish("phx.topic.room.flood", body); err != nil {
					t.Errorf("publish: %v", err)
				}
				published++
			})
		}()
		for done := false; !done; {
			select {
			case <-flooding:
				done = true
			default:
				flooded.listen()
			}
		}
	})
	m := a.scrape(t)
	everybody, slow := m.value("phxgate_nats_gaps_total", ""), m.value("phxgate_sockets_ended_total", `cause="slow"`)
	queue, loop, gaps := m.value("phxgate_nats_dropped_total", `reason="topic full"`), m.value("phxgate_dropped_total", `reason="topic_full"`), m.value("phxgate_topic_gaps_total", "")
	t.Logf("%d messages published, %d came, %d dropped before the reader, %d before the loop, %d gaps of the topic, %d of every topic, %d slow members aborted, %d channels told to rejoin",
		published, m.value("phxgate_nats_messages_received_total", ""), queue, loop, gaps, everybody, slow, m.value("phxgate_gap_rejoins_total", ""))
	if queue+loop == 0 || gaps == 0 {
		t.Errorf("%d messages dropped, %d gaps of the topic: nothing was pressed", queue+loop, gaps)
	}
	// Who floods is told so.
	if report, err := told.NextMsg(phxtest.Patience()); err != nil {
		t.Errorf("phx.dropped: %v", err)
	} else if !strings.HasPrefix(string(report.Data), `{"subject":"phx.topic.room.flood","reason":"topic full",`) {
		t.Errorf("phx.dropped: %s", report.Data)
	}

	// Afterwards: whoever is left and was not told gets what is published now.
	var next time.Time
	waitFor(t, "every member that reads is aborted, told or served", func() bool {
		if now := time.Now(); now.After(next) {
			next = now.Add(100 * time.Millisecond)
			for _, subject := range []string{"phx.topic.room.flood", "phx.topic.room.quiet"} {
				if err := a.nats.Publish(subject, []byte(`{"event":"after","payload":{}}`)); err != nil {
					t.Fatal(err)
				}
			}
		}
		flooded.listen()
		bystanders.listen()
		return flooded.count(memberFlooded)+bystanders.count(memberFlooded) == 0
	})
	for who, l := range map[string]*listener{"read the flood": flooded, "had nothing to do with it": bystanders} {
		t.Logf("of %d members that %s: %d aborted, %d told by phx_error, %d served afterwards", len(l.crowd), who, l.count(memberAborted), l.count(memberTold), l.count(memberServed))
	}
	if n := bystanders.count(memberAborted); n > 0 {
		t.Errorf("%d members of a quiet topic were aborted", n)
	}
	// Where others take the machine, the NATS server may cut off a gateway that gets no processor to read: a gap of every topic.
	if n := bystanders.count(memberTold); everybody == 0 && n > 0 {
		t.Errorf("%d members of a quiet topic were told of a gap that was another's", n)
	} else if n := bystanders.count(memberServed); everybody > 0 && n > 0 {
		t.Errorf("%d members of a quiet topic were not told of a gap", n)
	}
	// The collector lets all double.
	a.memoryVerdict(idleBytes + 2*(2*floodShare+mailboxBytes))
	a.mustLive(t)
	a.wantAnswers()
	a.wantLatency("heartbeat", a.row.before.heartbeat, a.row.during.heartbeat)
	// They take turns with the flood's slices, and with the publisher and NATS for the processors.
	a.wantBelow("broadcast", a.row.before.broadcast, a.row.during.broadcast, a.row.before.broadcast+phxtest.Scaled(100*time.Millisecond))
	if n := a.row.before.lost + a.row.during.lost; n > 0 && everybody == 0 {
		t.Errorf("healthy clients: %d broadcasts never came", n)
	}
}

// memberState is what became of a member.
type memberState uint8

const (
	memberFlooded memberState = iota // nothing but the flood came
	memberAborted
	memberTold   // phx_error
	memberServed // got what was published after the flood
)

// listener reads a crowd, a frame of each socket that has something at a time.
type listener struct {
	t       *testing.T
	crowd   crowd
	state   []memberState
	scratch []byte
}

func newListener(t *testing.T, c crowd) *listener {
	return &listener{t: t, crowd: c, state: make([]memberState, len(c)), scratch: make([]byte, floodMessage+1024)}
}

// listen reads one frame of each socket that has something.
func (l *listener) listen() {
	ready, err := l.crowd.readable()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, i := range ready {
		if l.state[i] == memberAborted {
			continue
		}
		text, err := l.frame(l.crowd[i])
		switch {
		case err != nil:
			l.state[i] = memberAborted
		case l.state[i] == memberTold:
		case strings.Contains(text, `"phx_error"`):
			l.state[i] = memberTold
		case strings.Contains(text, `"after"`):
			l.state[i] = memberServed
		}
	}
}

// frame reads one frame and returns the beginning of its payload.
func (l *listener) frame(s sock) (string, error) {
	h, err := ws.ReadHeader(s)
	if err != nil {
		return "", err
	}
	if h.OpCode != ws.OpText || h.Length > int64(len(l.scratch)) {
		return "", fmt.Errorf("frame of %d bytes, opcode %x", h.Length, h.OpCode)
	}
	if _, err := io.ReadFull(s, l.scratch[:h.Length]); err != nil {
		return "", err
	}
	return string(l.scratch[:min(h.Length, 100)]), nil
}

func (l *listener) count(state memberState) (n int) {
	for _, s := range l.state {
		if s == state {
			n++
		}
	}
	return n
}
