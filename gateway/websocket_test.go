package gateway

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"
)

// readFrames takes the server's frames apart with gobwas/ws, which shares no code with appendFrame.
func readFrames(t *testing.T, data []byte) (frames []ws.Frame) {
	t.Helper()
	for r := bytes.NewReader(data); r.Len() > 0; {
		h, err := ws.ReadHeader(r)
		if err != nil || h.Length > int64(r.Len()) {
			t.Fatalf("frame %d: %+v, %v", len(frames), h, err)
		}
		f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
		if _, err := io.ReadFull(r, f.Payload); err != nil {
			t.Fatalf("frame %d: %v", len(frames), err)
		}
		if err := ws.CheckHeader(f.Header, ws.StateClientSide); err != nil {
			t.Fatalf("frame %d: %v", len(frames), err)
		}
		frames = append(frames, f)
	}
	return frames
}

func TestParseHeader(t *testing.T) {
	for _, length := range []int64{0, 1, 125, 126, 127, 1000, 65535, 65536, 200000, 1<<31 - 1, 1 << 31, 1 << 40, 1<<63 - 1} {
		for _, op := range []ws.OpCode{ws.OpContinuation, ws.OpText, ws.OpBinary, ws.OpClose, ws.OpPing, ws.OpPong} {
			if op.IsControl() && length > 125 {
				continue
			}
			want := ws.Header{Fin: true, OpCode: op, Masked: true, Mask: [4]byte{9, 0, 255, 7}, Length: length}
			wantHeader(t, want)
			if !op.IsControl() {
				want.Fin = false
				wantHeader(t, want)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		h := ws.Header{
			Fin: r.IntN(2) == 0, OpCode: ws.OpCode(r.IntN(3)), Masked: true, Length: r.Int64() >> r.IntN(63),
			Mask: [4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())},
		}
		wantHeader(t, h)
	}
}

// wantHeader encodes h with gobwas/ws and wants it back from the whole header and nothing from any shorter piece.
func wantHeader(t *testing.T, h ws.Header) {
	t.Helper()
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		t.Fatal(err)
	}
	size := b.Len()
	b.WriteString("payload")
	for n := range size {
		if _, got, bad := parseHeader(b.Bytes()[:n], true); got != 0 || bad != causeNone {
			t.Fatalf("%+v cut at %d: size %d, %v; want 0, none", h, n, got, bad)
		}
	}
	for _, n := range []int{size, size + 1, b.Len()} {
		got, gotSize, bad := parseHeader(b.Bytes()[:n], true)
		if got != h || gotSize != size || bad != causeNone {
			t.Fatalf("%d bytes: got %+v, %d, %v; want %+v, %d", n, got, gotSize, bad, h, size)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	mask := "\x01\x02\x03\x04"
	for _, c := range []struct{ name, data string }{
		{"unmasked (§5.1)", "\x81\x00"},
		{"unmasked with a long length (§5.1)", "\x81\x7e"},
		{"RSV1 (§5.2)", "\xc1\x80" + mask},
		{"RSV2 (§5.2)", "\xa1\x80" + mask},
		{"RSV3 (§5.2)", "\x91\x80" + mask},
		{"opcode 3 (§5.2)", "\x83\x80" + mask},
		{"opcode 7 (§5.2)", "\x87\x80" + mask},
		{"opcode 11 (§5.2)", "\x8b\x80" + mask},
		{"opcode 15 (§5.2)", "\x8f\x80" + mask},
		{"ping of 126 bytes (§5.5)", "\x89\xfe"},
		{"ping with a 64-bit length (§5.5)", "\x89\xff"},
		{"close in fragments (§5.5)", "\x08\x80" + mask},
		{"ping in fragments (§5.5)", "\x09\x80" + mask},
		{"125 in 16 bits (§5.2)", "\x82\xfe\x00\x7d"},
		{"0 in 16 bits (§5.2)", "\x82\xfe\x00\x00"},
		{"65535 in 64 bits (§5.2)", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"},
		{"0 in 64 bits (§5.2)", "\x82\xff\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"the highest bit of 64 (§5.2)", "\x82\xff\x80\x00\x00\x00\x00\x01\x00\x00"},
	} {
		for _, more := range []string{"", "x", "xxxxxxxxxxxxxxxx"} {
			if _, size, bad := parseHeader([]byte(c.data+more), false); bad != causeProtocol || size != 0 {
				t.Errorf("%s, %d bytes more: size %d, cause %v; want protocol_error", c.name, len(more), size, bad)
			}
		}
		for n := range len(c.data) {
			if _, size, bad := parseHeader([]byte(c.data[:n]), false); size != 0 || bad != causeNone && bad != causeProtocol {
				t.Errorf("%s cut at %d: size %d, cause %v", c.name, n, size, bad)
			}
		}
	}
}

func TestAppendFrame(t *testing.T) {
	prefix := appendFrame([]byte(nil), ws.OpText, func(dst []byte) []byte { return append(dst, "before"...) })
	for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
		for _, size := range []int{0, 1, 3, 4, 125, 126, 127, 65535, 65536, 200000} {
			payload := make([]byte, size)
			for i := range payload {
				payload[i] = byte(i*7 + i>>8)
			}
			for _, before := range [][]byte{nil, prefix} {
				dst := append(make([]byte, 0, len(before)+size/2), before...) // too small: encode moves it
				dst = appendFrame(dst, op, func(dst []byte) []byte { return append(dst, payload...) })
				dst = appendControl(dst, ws.OpPing, []byte("after"))
				if !bytes.HasPrefix(dst, before) {
					t.Fatalf("%d bytes: what was there before is changed", size)
				}
				frames := readFrames(t, dst[len(before):])
				if len(frames) != 2 || string(frames[1].Payload) != "after" {
					t.Fatalf("%d bytes behind %d: %d frames, want 2", size, len(before), len(frames))
				}
				f := frames[0]
				if f.Header.OpCode != op || !f.Header.Fin || f.Header.Masked || !bytes.Equal(f.Payload, payload) {
					t.Errorf("%d bytes behind %d: got %+v", size, len(before), f.Header)
				}
			}
		}
	}
}

func TestAppendClose(t *testing.T) {
	for _, code := range []ws.StatusCode{0, 1001, 1002, 1007, 1008, 1009, 1011, 1012} {
		f := readFrames(t, appendClose(nil, code))[0]
		var want []byte
		if code != 0 {
			want = binary.BigEndian.AppendUint16(nil, uint16(code))
		}
		if f.Header.OpCode != ws.OpClose || !bytes.Equal(f.Payload, want) {
			t.Errorf("code %d: got %v %x", code, f.Header, f.Payload)
		}
	}
}

func closeBody(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

func TestCloseCode(t *testing.T) {
	body := closeBody
	for _, c := range []struct {
		name, payload string
		code          ws.StatusCode
		bad           cause
	}{
		{"none (§5.5.1)", "", 0, causeNone},
		{"one byte (§5.5.1)", "\x03", 0, causeProtocol},
		{"1000", body(1000, ""), 1000, causeNone},
		{"1001 with a reason", body(1001, "tschüß"), 1001, causeNone},
		{"1001 with half a character", body(1001, "tsch\xc3"), 0, causeNotUTF8},
		{"1011", body(1011, ""), 1011, causeNone},
		{"1012 of the registry", body(1012, ""), 1012, causeNone},
		{"1014 of the registry", body(1014, ""), 1014, causeNone},
		{"3000", body(3000, ""), 3000, causeNone},
		{"4999", body(4999, ""), 4999, causeNone},
		{"0 (§7.4.2)", body(0, ""), 0, causeProtocol},
		{"999 (§7.4.2)", body(999, ""), 0, causeProtocol},
		{"1004, reserved (§7.4.1)", body(1004, ""), 0, causeProtocol},
		{"1005, never sent (§7.4.1)", body(1005, ""), 0, causeProtocol},
		{"1006, never sent (§7.4.1)", body(1006, ""), 0, causeProtocol},
		{"1015, never sent (§7.4.1)", body(1015, ""), 0, causeProtocol},
		{"1016, unassigned", body(1016, ""), 0, causeProtocol},
		{"2999, unassigned", body(2999, ""), 0, causeProtocol},
	} {
		if code, bad := closeCode([]byte(c.payload)); code != c.code || bad != c.bad {
			t.Errorf("%s: got %d, %v; want %d, %v", c.name, code, bad, c.code, c.bad)
		}
	}
}

// TestCloseCodeRefusesAbove4999: the registry ends there (RFC 6455 §7.4.2), and the Autobahn suite's case 7.9 sends 5000 and more.
func TestCloseCodeRefusesAbove4999(t *testing.T) {
	for _, code := range []int{5000, 16384, 65535} {
		if got, bad := closeCode([]byte(closeBody(code, ""))); bad != causeProtocol {
			t.Errorf("%d: got %d, %v; want protocol_error", code, got, bad)
		}
	}
}

// TestCloseCodeChecksReasonOfRegistryCodes: a reason must be UTF-8 whatever the code (RFC 6455 §5.5.1).
func TestCloseCodeChecksReasonOfRegistryCodes(t *testing.T) {
	for _, code := range []int{1012, 1013, 1014} {
		if got, bad := closeCode([]byte(closeBody(code, "\xff"))); bad != causeNotUTF8 {
			t.Errorf("%d: got %d, %v; want not_utf8", code, got, bad)
		}
	}
}
