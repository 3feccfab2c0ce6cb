//go:build linux

package ceilings

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// maxFrameBytes: messages of MAX_FRAME_BYTES are served; those of a byte more, announced or in fragments, are closed with 1009, and a request head beyond 32 KiB gets 431.
func maxFrameBytes(t *testing.T, c *ceilings) {
	const limit = 64 << 10
	sockets := sized(3000)
	a := c.arena(t, "MAX_FRAME_BYTES", fmt.Sprintf("MAX_FRAME_BYTES=%d", limit))
	whole := dial(t, a.addr, sockets, 0)
	parts := dial(t, a.addr, sockets, 0)

	const open, end = `[null,"1","phoenix","heartbeat",{"x":"`, `"}]`
	text := func(size int) string { return open + strings.Repeat("x", size-len(open)-len(end)) + end }
	fits, beyond := text(limit), text(limit+1)
	fragments := func(text string) []byte {
		third := len(text) / 3
		b := frame(ws.OpText, false, []byte(text[:third]))
		b = append(b, frame(ws.OpContinuation, false, []byte(text[third:2*third]))...)
		return append(b, frame(ws.OpContinuation, true, []byte(text[2*third:]))...)
	}
	served := func(_ int, s sock) error {
		f, err := readMessage(s)
		if err == nil && !strings.Contains(string(f.payload), `"ok"`) {
			err = fmt.Errorf("a message of MAX_FRAME_BYTES: got %x", f.payload)
		}
		return err
	}
	tooBig := func(_ int, s sock) error {
		f, err := readMessage(s)
		if err == nil && f.closeCode() != ws.StatusMessageTooBig {
			err = fmt.Errorf("a message beyond MAX_FRAME_BYTES: got %x, want close code 1009", f.payload)
		}
		return err
	}
	const heads = 32 << 10
	head := []byte("GET /socket/websocket" + upgradeHeaders + "X-Long: " + strings.Repeat("x", heads))
	a.press(3*sockets, func() {
		for _, run := range []struct {
			crowd  crowd
			sent   []byte
			answer func(int, sock) error
		}{
			{whole, textFrame(fits), served},
			{parts, fragments(fits), served},
			{whole, textFrame(beyond)[:14], tooBig}, // the header says enough
			{parts, fragments(beyond), tooBig},
		} {
			run.crowd.exchange(t, func(int) []byte { return run.sent }, run.answer)
		}
		a.wantCount(t, "phxgate_sockets_ended_total", `cause="too_big"`, 2*sockets)
		connect(t, a.addr, sockets, 0).exchange(t, func(int) []byte { return head }, func(_ int, s sock) error {
			status, err := s.status()
			if err == nil && status != http.StatusRequestHeaderFieldsTooLarge {
				err = fmt.Errorf("a request head beyond 32 KiB: status %d, want 431", status)
			}
			return err
		})
		a.wantCount(t, "phxgate_handshakes_refused_total", "", sockets)
	})
	// A wave of incomplete messages at a time, twice the size where a slice grows, and the collector's double.
	a.verdict(idleBytes + 4*wave*limit + int64(3*sockets)*(4<<10))
}
