package hostile

import (
	"strings"

	"github.com/gobwas/ws"
)

// notUTF8 are byte sequences that no UTF-8 text holds (Unicode, table 3-7): lone, overlong, surrogate, too large, cut short.
var notUTF8 = []string{"\xff", "\xfe", "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82 ", "\xf0\x9f\x98 ", "\xc3("}

// frameClasses break RFC 6455, or go to its limits.
func frameClasses() []class {
	return []class{
		{"oversized", nil, oversized},
		{"unmasked", nil, func(a *arena, v variant) func() {
			f := ws.NewFrame([]ws.OpCode{ws.OpText, ws.OpBinary, ws.OpPing, ws.OpClose}[v.n%4], true, []byte(beat("1"))[:v.r.IntN(40)])
			return closes(a, v, string(ws.MustCompileFrame(f)), 1002) // §5.1
		}},
		{"reserved bits", nil, func(a *arena, v variant) func() {
			f := []byte(frame([]ws.OpCode{ws.OpText, ws.OpBinary, ws.OpPing, ws.OpPong, ws.OpClose}[v.n%5], true, ""))
			f[0] |= byte(1+v.r.IntN(7)) << 4
			return closes(a, v, string(f), 1002) // §5.2
		}},
		{"reserved opcodes", nil, func(a *arena, v variant) func() {
			op := []ws.OpCode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15}[v.n%10]
			return closes(a, v, frame(op, v.r.IntN(2) == 0, strings.Repeat("x", v.r.IntN(300))), 1002) // §5.2
		}},
		{"bad UTF-8", nil, func(a *arena, v variant) func() {
			message := beat("text before and after")
			at := 10 + v.r.IntN(10)
			message = message[:at] + notUTF8[v.n%len(notUTF8)] + message[at:]
			cut := v.r.IntN(len(message))
			if v.n%2 == 0 {
				return closes(a, v, text(message), 1007) // §8.1
			}
			return closes(a, v, frame(ws.OpText, false, message[:cut])+frame(ws.OpContinuation, true, message[cut:]), 1007)
		}},
		{"one byte at a time", nil, func(a *arena, v variant) func() {
			r := a.open()
			cut := v.r.IntN(len(beat("1")))
			data := text(beat("1")) + frame(ws.OpText, false, beat("2")[:cut]) + frame(ws.OpPing, true, "in") + frame(ws.OpContinuation, true, beat("2")[cut:])
			for i := range len(data) {
				r.write(data[i : i+1])
			}
			return func() {
				r.want(ws.OpText, beatReply("1"))
				r.want(ws.OpPong, "in")
				r.want(ws.OpText, beatReply("2"))
				r.conn.Close()
			}
		}},
	}
}

// closes serves one message, then sends what must close the connection, and what is not read any more behind it.
func closes(a *arena, v variant, attack string, code int) (end func()) {
	a.Helper()
	r := a.open()
	r.wantServed()
	r.writePieces(v.r, attack+text(beat("late"))+randomBytes(v.r, v.r.IntN(1000)))
	return func() {
		a.Helper()
		r.wantClose(code)
	}
}

// oversized sends messages beyond MAX_FRAME_BYTES: one frame, only its header, and fragments that are too large together.
func oversized(a *arena, v variant) (end func()) {
	size := maxFrame + 1 + v.r.IntN(maxFrame)
	switch v.n % 4 {
	case 0:
		return closes(a, v, text(strings.Repeat("x", size)), 1009)
	case 1:
		var fragments strings.Builder
		fragments.WriteString(frame(ws.OpBinary, false, ""))
		for left := size; left > 0; {
			n := min(1+v.r.IntN(2000), left)
			fragments.WriteString(frame(ws.OpContinuation, left == n, strings.Repeat("x", n)))
			left -= n
		}
		return closes(a, v, fragments.String(), 1009)
	case 2: // a header of 2^16 to 2^63-1 bytes
		length := uint64(1)<<(16+v.r.IntN(46)) + uint64(v.r.IntN(1000))
		header := []byte{0x82, 0xff}
		for shift := 56; shift >= 0; shift -= 8 {
			header = append(header, byte(length>>shift))
		}
		return closes(a, v, string(header)+"mask", 1009)
	}
	// The limit itself is allowed: what comes of it is the serializer's to say.
	r := a.open()
	message := beat("1")
	r.writePieces(v.r, text(message+strings.Repeat(" ", maxFrame-len(message))))
	return func() {
		r.want(ws.OpText, beatReply("1"))
		r.conn.Close()
	}
}
