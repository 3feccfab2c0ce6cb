package clustertest

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway"
)

// noClose: the connection goes on. emptyClose: a close frame without a code.
const (
	noClose    = 0
	emptyClose = 1005
)

// conduct is what RFC 6455 asks of a server: what a client writes, piece by piece, and what comes of it.
type conduct struct {
	name   string
	pieces [][]byte
	want   []string // "pong:" and its payload, else text
	close  int
}

// concat makes one piece of several.
func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// bytewise makes a piece of each byte.
func bytewise(data []byte) (pieces [][]byte) {
	for i := range data {
		pieces = append(pieces, data[i:i+1])
	}
	return pieces
}

func one(parts ...[]byte) [][]byte { return [][]byte{concat(parts...)} }

func conducts() []conduct {
	b := beat("1")
	first, rest := b[:9], b[9:]
	second := text(beat("2"))
	return []conduct{
		{"a message", one(text(b)), []string{beatReply("1")}, noClose},
		{"two frames in one packet", one(text(b), text(beat("2"))), []string{beatReply("1"), beatReply("2")}, noClose},
		{"a frame and a half, then the other half", [][]byte{concat(text(b), second[:7]), second[7:]}, []string{beatReply("1"), beatReply("2")}, noClose},
		{"one byte at a time", bytewise(text(b)), []string{beatReply("1")}, noClose},
		{"fragments with a ping between (§5.4)", one(frame(ws.OpText, false, first), frame(ws.OpPing, true, "in"), frame(ws.OpContinuation, true, rest)), []string{"pong:in", beatReply("1")}, noClose},
		{"fragments and a ping, one byte at a time", bytewise(concat(frame(ws.OpText, false, first), frame(ws.OpPing, true, "in"), frame(ws.OpContinuation, true, rest))), []string{"pong:in", beatReply("1")}, noClose},
		{"empty fragments", one(frame(ws.OpText, false, ""), frame(ws.OpContinuation, false, b), frame(ws.OpContinuation, true, "")), []string{beatReply("1")}, noClose},
		{"ping (§5.5.2)", one(frame(ws.OpPing, true, "\x00\xffhello")), []string{"pong:\x00\xffhello"}, noClose},
		{"an empty ping", one(frame(ws.OpPing, true, "")), []string{"pong:"}, noClose},
		{"a ping of 125 bytes", one(frame(ws.OpPing, true, strings.Repeat("p", 125))), []string{"pong:" + strings.Repeat("p", 125)}, noClose},
		{"a pong nobody asked for (§5.5.3)", one(frame(ws.OpPong, true, "x")), nil, noClose},
		{"a character split over fragments (§5.6)", one(frame(ws.OpText, false, `[null,"`+"\xc3"), frame(ws.OpContinuation, true, "\xa9"+`","phoenix","heartbeat",{}]`)), []string{beatReply("é")}, noClose},
		{"unmasked (§5.1)", one(ws.MustCompileFrame(ws.NewTextFrame([]byte(b)))), nil, 1002},
		{"a reserved bit (§5.2)", one([]byte("\xc1\x80\x00\x00\x00\x00")), nil, 1002},
		{"a reserved opcode (§5.2)", one([]byte("\x83\x80\x00\x00\x00\x00")), nil, 1002},
		{"a reserved control opcode (§5.2)", one([]byte("\x8b\x80\x00\x00\x00\x00")), nil, 1002},
		{"a long control frame (§5.5)", one([]byte("\x89\xfe\x00\x7e")), nil, 1002},
		{"a control frame in fragments (§5.5)", one(frame(ws.OpPing, false, "x")), nil, 1002},
		{"a continuation of nothing (§5.4)", one(frame(ws.OpContinuation, true, b)), nil, 1002},
		{"text inside fragments (§5.4)", one(frame(ws.OpText, false, first), text(b)), nil, 1002},
		{"a length in more bytes than it needs (§5.2)", one([]byte("\x81\xfe\x00\x05")), nil, 1002},
		{"text that is not UTF-8 (§8.1)", one(text("[\"\xff\"]")), nil, 1007},
		{"bad UTF-8 split over fragments (§8.1)", one(frame(ws.OpText, false, "[\"\xc3"), frame(ws.OpContinuation, true, "\xc3\"]")), nil, 1007},
		{"half a character at the end (§8.1)", one(text("[\"\xe2\x82")), nil, 1007},
		{"one byte too large", one(text(strings.Repeat("x", 10_001))), nil, 1009},
		{"fragments too large together", one(frame(ws.OpText, false, strings.Repeat("x", 10_000)), frame(ws.OpContinuation, true, "x")), nil, 1009},
		{"the header of a frame of 2^62 bytes", one([]byte("\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")), nil, 1009},
		{"a header of 2^63 bytes (§5.2)", one([]byte("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")), nil, 1002},
		{"close with a code (§5.5.1)", one(frame(ws.OpClose, true, "\x03\xe8bye")), nil, 1000},
		{"close without a code", one(frame(ws.OpClose, true, "")), nil, emptyClose},
		{"close of an application", one(frame(ws.OpClose, true, "\x0b\xb8")), nil, 3000},
		{"close with a code that is never sent (§7.4.1)", one(frame(ws.OpClose, true, "\x03\xee")), nil, 1002},
		{"close with a code beyond the registry (§7.4.2)", one(frame(ws.OpClose, true, "\x13\x88")), nil, 1002},
		{"close of one byte (§5.5.1)", one(frame(ws.OpClose, true, "\x03")), nil, 1002},
		{"close with a reason that is not UTF-8 (§5.5.1)", one(frame(ws.OpClose, true, "\x03\xe8\xff")), nil, 1007},
		{"what comes after a close is not read (§5.5.1)", one(text(b), frame(ws.OpClose, true, "\x03\xe9"), text(b)), []string{beatReply("1")}, 1001},
		{"close inside fragments", one(frame(ws.OpText, false, first), frame(ws.OpClose, true, "\x03\xe8")), nil, 1000},
	}
}

func TestConduct(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, server, client *tls.Config) {
		t.Parallel()
		c := Start(t, Options{TLS: server, Config: func(cfg *gateway.Config) { cfg.MaxFrameBytes = 10_000 }})
		t.Run("all", func(t *testing.T) { // so that the cluster outlives them
			for _, test := range conducts() {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, dialRaw(t, c.URL(0, "vsn=2.0.0"), client))
				})
			}
		})
	})
}

func (c *conduct) run(t *testing.T, r *raw) {
	for _, piece := range c.pieces {
		r.write(piece)
	}
	for _, want := range c.want {
		if payload, ok := strings.CutPrefix(want, "pong:"); ok {
			r.want(ws.OpPong, payload)
		} else {
			r.want(ws.OpText, want)
		}
	}
	switch c.close {
	case noClose:
		r.write(text(beat("end")))
		r.want(ws.OpText, beatReply("end"))
		return
	case emptyClose:
		r.want(ws.OpClose, "")
	default:
		r.want(ws.OpClose, string([]byte{byte(c.close >> 8), byte(c.close)}))
	}
	r.wantEnd()
}
