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

// floodTime is for how long the publisher does not stop.
const floodTime = 4 * time.Second

// floodMessage is the size of what it publishes, in bytes.
const floodMessage = 200_000

// floodPatience bounds the healthy clients' heartbeats here: 2,000 sockets take gigabytes in the flood, from one loop on one processor, which is saturated.
// phoenix.js waits 30 s (assets/js/phoenix/socket.js, heartbeatIntervalMs).
const floodPatience = 10 * time.Second

// busInbox: a publisher at full speed floods a topic whose members cannot keep up: half never read, half are read by one goroutine as fast as it can. The gateway has
// one processor. What it cannot take is dropped and counted, and no member is left guessing: it is aborted, told by phx_error, or still served.
func busInbox(t *testing.T, c *ceilings) {
	members := sized(2000)
	a := c.arena(t, "bus inbox", "GOMAXPROCS=1", "GAP_SPREAD=500ms")
	deaf := dial(t, a.addr, members/2, tinyBuffer)
	deaf.join(t, "room:flood")
	reading := dial(t, a.addr, members/2, 0)
	reading.join(t, "room:flood")
	quiet := dial(t, a.addr, healthyMembers, 0)
	quiet.join(t, "room:quiet")
	flooded, bystanders := newListener(t, reading), newListener(t, quiet)
	publisher := a.connectNATS()
	body := []byte(`{"event":"flood","payload":{"x":"` + strings.Repeat("x", floodMessage) + `"}}`)

	published := 0
	a.press(members, func() {
		flooding := make(chan struct{})
		go func() {
			defer close(flooding)
			for end := time.Now().Add(floodTime); time.Now().Before(end); published++ {
				if err := publisher.Publish("phx.topic.room.flood", body); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
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
	gaps := m.value("phxgate_nats_gaps_total", "")
	full, slow := m.value("phxgate_nats_dropped_total", `reason="inbox full"`), m.value("phxgate_sockets_ended_total", `cause="slow"`)
	t.Logf("%d messages published, %d came, %d dropped with the inbox full, %d gaps, %d reconnects, %d slow members aborted, %d channels told to rejoin", published,
		m.value("phxgate_nats_messages_received_total", ""), full, gaps, m.value("phxgate_nats_reconnects_total", ""), slow,
		m.value("phxgate_gap_rejoins_total", ""))
	if full == 0 && slow == 0 {
		t.Error("neither was the inbox full nor a member slow: nothing was pressed")
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
	if n := bystanders.count(memberServed); gaps > 0 && n > 0 {
		t.Errorf("%d members of a quiet topic were not told of a gap", n)
	}
	waitFor(t, "the members that never read are aborted", func() bool {
		return a.count(t, "phxgate_sockets_ended_total", `cause="slow"`) >= int64(len(deaf))
	})
	// The inbox, what its reader took, and the mailbox: 64 MiB each, the last for the loop's turn too; the collector's double.
	a.memoryVerdict(idleBytes + 2*4*(64<<20))
	a.mustLive(t)
	a.wantAnswers()
	a.wantBelow("heartbeat", a.row.before.heartbeat, a.row.during.heartbeat, phxtest.Scaled(floodPatience))
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
