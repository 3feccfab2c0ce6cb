//go:build linux

package ceilings

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// idleBytes is what a gateway without load may occupy.
const idleBytes = 64 << 20

// tinyBuffer is a receive buffer in bytes that is soon full.
const tinyBuffer = 4 << 10

// outboundBytes: members that never read, while 50 MB are broadcast to them. Each is aborted at its bound.
func outboundBytes(t *testing.T, c *ceilings) {
	const outbound = 1 << 20
	const message, broadcast = 10_000, 50_000_000
	members := sized(1000)
	a := c.arena(t, "OUTBOUND_BYTES", fmt.Sprintf("OUTBOUND_BYTES=%d", outbound))
	crowd := dial(t, a.addr, members, tinyBuffer)
	crowd.join(t, "room:slow")
	body := []byte(`{"event":"e","payload":{"x":"` + strings.Repeat("x", message) + `"}}`)
	publish := func(int) {
		if err := a.nats.Publish("phx.topic.room.slow", body); err != nil {
			t.Fatal(err)
		}
	}
	a.press(members, func() {
		// First as many as the members' kernels and outboxes can hold.
		const held = 5_000_000 / message
		paced(held, 150, publish)
		paced(broadcast/message-held, 2500, publish)
		a.wantCount(t, "phxgate_sockets_ended_total", `cause="slow"`, members)
	})
	for i, s := range crowd {
		if _, err := io.Copy(io.Discard, io.Reader(s)); !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("member %d: ended with %v, want a reset: there is no room for a close frame", i, err)
		}
	}
	if got := a.count(t, "phxgate_sockets", ""); got != healthyMembers {
		t.Errorf("%d sockets are left, want the %d healthy ones", got, healthyMembers)
	}
	// All members share the frames, so that what waits is at most what was broadcast. The collector may let it double.
	a.verdict(idleBytes + 2*broadcast)
}
