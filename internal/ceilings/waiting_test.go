//go:build linux

package ceilings

import (
	"fmt"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
)

// Bounds of one channel's and one socket's waiting events: the count is the contract's ("overloaded"), the bytes are the gateway's.
const (
	maxWaitingEvents = 1000
	maxWaitingBytes  = 4 << 20
)

// silence subscribes a service that never answers.
func (a *arena) silence(subject string) {
	a.t.Helper()
	_, err := a.nats.Subscribe(subject, func(*natsgo.Msg) {})
	if err == nil {
		err = a.nats.Flush()
	}
	if err != nil {
		a.t.Fatalf("subscribe %s: %v", subject, err)
	}
}

// overloaded wants n replies, each the refusal of an event because too much waits.
func overloaded(s sock, n int) error {
	for i := range n {
		f, err := readMessage(s)
		if err == nil && !strings.Contains(string(f.payload), `{"status":"error","response":{"reason":"overloaded"}}`) {
			err = fmt.Errorf("got %s, want a reply overloaded", f.payload)
		}
		if err != nil {
			return fmt.Errorf("refusal %d of %d: %w", i, n, err)
		}
	}
	return nil
}

// waitingEvents: sockets that each push 1,200 events for a backend that never answers. One is under way, 1,000 wait, the others are refused.
func waitingEvents(t *testing.T, c *ceilings) {
	const events, refused, chunks = 1200, 1200 - maxWaitingEvents - 1, 60
	sockets := sized(1000)
	total := sized(256 << 20)
	a := c.arena(t, "waiting events", fmt.Sprintf("INBOUND_BYTES_TOTAL=%d", total))
	a.silence("phx.event.>")
	crowd := dial(t, a.addr, sockets, 0)
	crowd.join(t, "room:waiting")
	var chunk [chunks][]byte
	for i := range events {
		k := i / (events / chunks)
		chunk[k] = append(chunk[k], textFrame(fmt.Sprintf(`["1","%d","room:waiting","e",{"n":%d}]`, i, i))...)
	}
	a.press(sockets, func() {
		paced(sockets*chunks, 250_000/(events/chunks), func(i int) {
			// Some sockets at a time: no thousand clients are in step to the event.
			const together = 50
			k := i % (together * chunks)
			n := i/(together*chunks)*together + k%together
			if _, err := crowd[n].Write(chunk[k/together]); err != nil {
				t.Fatalf("socket %d: %v", n, err)
			}
		})
		a.wantCount(t, "phxgate_dropped_total", `reason="overloaded"`, sockets*refused)
	})
	for i, s := range crowd {
		if err := overloaded(s, refused); err != nil {
			t.Fatalf("socket %d: %v", i, err)
		}
	}
	waiting := a.count(t, "phxgate_waiting_bytes", "")
	if least := int64(sockets * maxWaitingEvents * 100); waiting < least || waiting > int64(total) {
		t.Errorf("phxgate_waiting_bytes is %d, want at least %d, at most INBOUND_BYTES_TOTAL, %d", waiting, least, total)
	}
	// What is counted, and the collector's double.
	a.verdict(idleBytes + 2*int64(total))
}

// waitingBytes: large events, first up to what one socket may have waiting, then up to what all may together.
func waitingBytes(t *testing.T, c *ceilings) {
	const size = 60_000
	const events = maxWaitingBytes/size + 20
	sockets := sized(60)
	total := sized(128 << 20)
	a := c.arena(t, "waiting bytes", fmt.Sprintf("INBOUND_BYTES_TOTAL=%d", total))
	a.silence("phx.event.>")
	crowd := dial(t, a.addr, sockets, 0)
	crowd.join(t, "room:waiting")
	event := textFrame(`["1","2","room:waiting","e",{"x":"` + strings.Repeat("x", size) + `"}]`)

	most, refused := int64(0), int64(sockets*(events-1)-total/size)
	a.press(sockets, func() {
		const perSecond = 100_000_000 / size
		push := func(s sock) {
			if _, err := s.Write(event); err != nil {
				t.Fatal(err)
			}
		}
		paced(events, perSecond, func(int) { push(crowd[0]) })
		alone := events - 1 - maxWaitingBytes/(size+150)
		a.wantCount(t, "phxgate_dropped_total", `reason="overloaded"`, alone)
		if got := a.count(t, "phxgate_waiting_bytes", ""); got > maxWaitingBytes || got < maxWaitingBytes-2*size {
			t.Errorf("phxgate_waiting_bytes of one socket is %d, want just below %d", got, maxWaitingBytes)
		}
		paced(events*(sockets-1), perSecond, func(i int) {
			if i%wave == 0 {
				most = max(most, a.count(t, "phxgate_waiting_bytes", ""))
			}
			push(crowd[1+i%(sockets-1)])
		})
		waitFor(t, "all that finds no room is refused", func() bool {
			m := a.scrape(t)
			most = max(most, m.value("phxgate_waiting_bytes", ""))
			return m.value("phxgate_dropped_total", `reason="overloaded"`) >= refused
		})
	})
	if most > int64(total) || most < int64(total)-2*size {
		t.Errorf("phxgate_waiting_bytes was %d at most, want just below INBOUND_BYTES_TOTAL, %d", most, total)
	}
	// What is counted, allocated in steps, and the collector's double.
	a.verdict(idleBytes + 3*int64(total))
}
