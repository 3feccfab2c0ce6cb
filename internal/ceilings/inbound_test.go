//go:build linux

package ceilings

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// readBytes is what a gateway reads at once before it counts it.
const readBytes = 64 << 10

// inboundBytesTotal: sockets that each send all but the end of a frame, five times as many bytes as INBOUND_BYTES_TOTAL together. Those that are closed are told 1009; the
// others can go on.
func inboundBytesTotal(t *testing.T, c *ceilings) {
	total, sockets := sized(64<<20), sized(5000)
	a := c.arena(t, "INBOUND_BYTES_TOTAL", fmt.Sprintf("INBOUND_BYTES_TOTAL=%d", total))
	crowd := dial(t, a.addr, sockets, 0)
	heartbeat := textFrame(`[null,"1","phoenix","heartbeat",{"x":"` + strings.Repeat("x", readBytes) + `"}]`)
	first, rest := heartbeat[:readBytes], heartbeat[readBytes:]

	closed := map[int]bool{}
	takeCloses := func() {
		ready, err := crowd.readable()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range ready {
			if closed[i] {
				continue
			}
			f, err := readMessage(crowd[i])
			if err != nil || f.closeCode() != ws.StatusMessageTooBig {
				t.Fatalf("socket %d: got %x %v, want close code 1009", i, f.payload, err)
			}
			closed[i] = true
		}
	}
	held := int64(0)
	a.press(sockets, func() {
		paced(sockets, 1500, func(i int) {
			if closed[i] {
				t.Fatalf("socket %d: closed before it sent anything", i)
			}
			if _, err := crowd[i].Write(first); err != nil {
				t.Fatalf("socket %d: %v", i, err)
			}
			if i%wave == 0 {
				held = max(held, a.count(t, "phxgate_inbound_bytes", ""))
				takeCloses()
			}
		})
		most := total / readBytes // that may be left
		waitFor(t, "all but as many as INBOUND_BYTES_TOTAL allows are closed", func() bool {
			m := a.scrape(t)
			held = max(held, m.value("phxgate_inbound_bytes", ""))
			takeCloses()
			return len(closed) >= sockets-most && m.value("phxgate_sockets_ended_total", `cause="inbound_total"`) == int64(len(closed))
		})
	})
	// What a read brought is counted before the largest are closed for it, and a scrape may see that moment.
	if held > int64(total)+readBytes {
		t.Errorf("phxgate_inbound_bytes was %d, INBOUND_BYTES_TOTAL is %d", held, total)
	}
	if left := sockets - len(closed); left < total/readBytes/2 {
		t.Errorf("only %d sockets are left of the %d that INBOUND_BYTES_TOTAL allows", left, total/readBytes)
	}
	for i, s := range crowd {
		if closed[i] {
			continue
		}
		if _, err := s.Write(rest); err != nil {
			t.Fatalf("socket %d, the rest of its frame: %v", i, err)
		}
		if f, err := readMessage(s); err != nil || !strings.Contains(string(f.payload), `"ok"`) {
			t.Fatalf("socket %d, when its frame was complete: %s %v", i, f.payload, err)
		}
	}
	if got := a.count(t, "phxgate_inbound_bytes", ""); got != 0 {
		t.Errorf("phxgate_inbound_bytes is %d, want 0 when nothing is incomplete", got)
	}
	// A slice that grows may be twice what it holds, and the collector may let the whole double.
	a.verdict(idleBytes + 4*int64(total))
}
