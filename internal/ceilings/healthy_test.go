//go:build linux

package ceilings

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	healthyMembers = 20
	beatInterval   = 20 * time.Millisecond
	heartbeatEvery = 4 // beats between two heartbeats of one member
	healthyTopic   = "healthy:room"
)

// healthy are clients that read all they get and do nothing unusual. Every beat a broadcast is published to them all, and some send a heartbeat, whether or not
// what went before has arrived: a gateway that stands still is seen in every one of them.
type healthy struct {
	t       *testing.T
	nats    *natsgo.Conn
	members []*healthyMember
	stop    chan struct{} // closed when the test ends
	running sync.WaitGroup

	mu     sync.Mutex // guards beats and window
	beats  []beat
	window *window // of what is sent now; nil: not measured
}

// beat is when what has its number was sent, and where its times go.
type beat struct {
	at     time.Time
	window *window
}

type healthyMember struct {
	conn net.Conn
	in   *bufio.Reader
}

// startHealthy joins the members and begins the beats; they end with the test.
func startHealthy(t *testing.T, addr string, nc *natsgo.Conn) *healthy {
	t.Helper()
	h := &healthy{t: t, nats: nc, stop: make(chan struct{})}
	t.Cleanup(h.close)
	for range healthyMembers {
		h.members = append(h.members, h.mustJoin(addr))
	}
	for _, m := range h.members {
		h.running.Go(func() { h.read(m) })
	}
	h.running.Go(h.beat)
	return h
}

func (h *healthy) mustJoin(addr string) *healthyMember {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), phxtest.Patience())
	defer cancel()
	conn, in, _, err := ws.Dial(ctx, "ws://"+addr+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		h.t.Fatalf("healthy client: %v", err)
	}
	if in == nil {
		in = bufio.NewReader(conn)
	}
	m := &healthyMember{conn, in}
	if _, err := conn.Write(textFrame(`["1","join","` + healthyTopic + `","phx_join",{}]`)); err != nil {
		h.t.Fatalf("healthy client: %v", err)
	}
	f, err := readMessage(in)
	if err != nil || !strings.Contains(string(f.payload), `"ok"`) {
		h.t.Fatalf("healthy client: join: %s %v", f.payload, err)
	}
	return m
}

// beat sends what is measured until the test ends.
func (h *healthy) beat() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-tick.C:
		}
		h.mu.Lock()
		n, w := len(h.beats), h.window
		h.beats = append(h.beats, beat{time.Now(), w})
		h.mu.Unlock()
		if w != nil {
			w.send(healthyMembers/heartbeatEvery, healthyMembers)
		}
		for i := n % heartbeatEvery; i < healthyMembers; i += heartbeatEvery {
			// An error is the end of the connection, which its reader reports.
			_, _ = h.members[i].conn.Write(textFrame(fmt.Sprintf(`[null,"%d","phoenix","heartbeat",{}]`, n)))
		}
		if err := h.nats.Publish("phx.topic.healthy.room", fmt.Appendf(nil, `{"event":"beat","payload":{"n":%d}}`, n)); err != nil {
			h.t.Errorf("healthy clients: publish: %v", err)
			return
		}
	}
}

// read takes what a member receives until its connection ends.
func (h *healthy) read(m *healthyMember) {
	for {
		f, err := readMessage(m.in)
		now := time.Now()
		if err != nil || f.op == ws.OpClose {
			select {
			case <-h.stop:
			default:
				h.t.Errorf("healthy client: cut off: %v %x", err, f.payload)
			}
			return
		}
		text := string(f.payload)
		if rest, ok := strings.CutPrefix(text, `[null,null,"`+healthyTopic+`","beat",{"n":`); ok {
			b := h.beatOf(strings.TrimSuffix(rest, "}]"))
			if b.window != nil {
				b.window.add(&b.window.broadcasts, now.Sub(b.at))
			}
		} else if rest, ok := strings.CutPrefix(text, `[null,"`); ok {
			number, _, _ := strings.Cut(rest, `"`)
			b := h.beatOf(number)
			if b.window != nil {
				b.window.add(&b.window.heartbeats, now.Sub(b.at))
			}
		} else {
			h.t.Errorf("healthy client: got %s", text)
		}
	}
}

func (h *healthy) beatOf(number string) beat {
	n, err := strconv.Atoi(number)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || n >= len(h.beats) {
		h.t.Errorf("healthy client: got number %q of %d", number, len(h.beats))
		return beat{}
	}
	return h.beats[n]
}

// measure exchanges the window.
func (h *healthy) measure(w *window) {
	h.mu.Lock()
	h.window = w
	h.mu.Unlock()
}

// settle waits until all of a window has arrived, at most for the patience, and returns its percentiles. Broadcasts may be missing for good, after a gap.
func (h *healthy) settle(w *window) percentiles {
	all := func() bool {
		unanswered, lost := w.missing()
		return unanswered+lost == 0
	}
	deadline := time.Now().Add(phxtest.Patience())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !all() && time.Now().Before(deadline) {
		<-tick.C
	}
	return w.percentiles()
}

func (h *healthy) close() {
	close(h.stop)
	for _, m := range h.members {
		m.conn.Close()
	}
	h.running.Wait()
}
