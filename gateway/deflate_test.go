package gateway

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// inflated takes compressed frames back, by the standard library, and says how many there were.
func inflated(t *testing.T, ch *channel) (texts []string, compressed int) {
	t.Helper()
	tr := ch.socket.tr.(*fakeTransport)
	data := tr.written
	tr.written = nil
	for r := bytes.NewReader(data); r.Len() > 0; {
		h, err := ws.ReadHeader(r)
		if err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatal(err)
		}
		switch h.Rsv {
		case 4:
			compressed++
			if payload, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))); err != nil {
				t.Fatalf("frame %d: %v", len(texts), err)
			}
		case 0:
		default:
			t.Fatalf("frame %d: reserved bits %b", len(texts), h.Rsv)
		}
		texts = append(texts, string(payload))
	}
	return texts, compressed
}

// deflated is one compressed client frame.
func deflated(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f := clientFrame(ws.OpText, true, bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
	f[0] |= 0x40
	return f
}

func joinDeflating(t *testing.T, l *loop, b *fakeBus, s phx.Serializer, topic string) *channel {
	t.Helper()
	sock := openSocket(l, keeping(), s)
	sock.deflates = true
	ch := join(t, l, b, sock, topic)
	sock.tr.(*fakeTransport).written = nil
	return ch
}

// TestDeflatedBroadcasts: small ones go as they are, others compressed, the same to all, in order, and large ones by way of the filter's goroutines.
func TestDeflatedBroadcasts(t *testing.T) {
	l, bus := newTestLoop(t, nil)
	l.srv.filters.most = 0
	a, b := joinDeflating(t, l, bus, phx.V2, "room:a"), joinDeflating(t, l, bus, phx.V2, "room:a")
	old := joinDeflating(t, l, bus, phx.V1, "room:a")
	plain := joinAs(t, l, bus, "room:a", `{}`)
	var want []string
	for n, size := range []int{10, 400, deflateApart + 10, 500, 20} {
		payload := fmt.Sprintf(`{"n":%d,"x":"%s"}`, n, strings.Repeat("spam and eggs ", size/14))
		want = append(want, `[null,null,"room:a","e",`+payload+`]`)
		l.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "e", Payload: []byte(payload)})
		turn(l)
	}
	work(l)
	turn(l)
	wantReceived(t, plain, want...)
	for _, ch := range []*channel{a, b} {
		texts, compressed := inflated(t, ch)
		if strings.Join(texts, "\n") != strings.Join(want, "\n") || compressed != 3 {
			t.Errorf("got %.300q, %d compressed", texts, compressed)
		}
	}
	if texts, compressed := inflated(t, old); len(texts) != 5 || compressed != 3 || !strings.HasPrefix(texts[1], `{"topic":"room:a","event":"e","payload":{"n":1,`) {
		t.Errorf("V1 got %.300q, %d compressed", texts, compressed)
	}
	// A push, too.
	l.srv.Channel(&ChannelMessage{Channel: a.id(), Event: "mine", Payload: []byte(`{"x":"` + strings.Repeat("spam ", 100) + `"}`)})
	turn(l)
	if texts, compressed := inflated(t, a); len(texts) != 1 || compressed != 1 || !strings.Contains(texts[0], "spam spam") {
		t.Errorf("got %.300q, %d compressed", texts, compressed)
	}
}

func TestDeflateFrame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := make([]byte, 1000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for name, f := range map[string][]byte{
		"small":   appendFrame(nil, ws.OpText, func(b []byte) []byte { return append(b, "hello"...) }),
		"random":  appendFrame(nil, ws.OpBinary, func(b []byte) []byte { return append(b, random...) }),
		"control": appendControl(nil, ws.OpPong, bytes.Repeat([]byte("x"), 125)),
		"http":    []byte("HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X: y\r\n", 100)),
	} {
		if got := deflateFrame(f); &got[0] != &f[0] {
			t.Errorf("%s: changed", name)
		}
	}
	for _, n := range []int{300, 70_000} { // headers of 4 and 10 bytes
		text := strings.Repeat("0123456789abcdef", n/16)
		ch := &channel{socket: &socket{tr: &fakeTransport{written: deflateFrame(textFrame(func(b []byte) []byte { return append(b, text...) }))}}}
		if texts, compressed := inflated(t, ch); compressed != 1 || texts[0] != text {
			t.Errorf("%d bytes: %d compressed, %.40q", n, compressed, texts)
		}
	}
}

func TestInflate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		frames []byte
		want   cause
	}{
		{"message", deflated(t, `["1","9","room:a","phx_leave",{"x":"`+strings.Repeat("x", 90_000)+`"}]`), causeNone},
		{"fragments", fragments(deflated(t, `["1","9","room:a","phx_leave",{"x":"`+strings.Repeat("xy", 40_000)+`"}]`)), causeNone},
		{"not compressed", clientText(`["1","9","room:a","phx_leave",{}]`), causeNone},
		{"too big", deflated(t, `["1","9","room:a","phx_leave",{"x":"`+strings.Repeat("x", 100_000)+`"}]`), causeTooBig},
		{"bomb", deflated(t, strings.Repeat("\x00", 50<<20)), causeTooBig},
		{"garbage", mark(clientText("\xff\xff\xff\xff\xff")), causeProtocol},
		{"cut", mark(clientText(string(deflated(t, strings.Repeat("abc", 100))[6:12]))), causeProtocol},
		{"not UTF-8", deflated(t, "\xff\xfe"), causeNotUTF8},
		{"no message", deflated(t, "{}"), causeMalformed},
		{"control", mark(clientFrame(ws.OpPing, true, nil)), causeProtocol},
		{"continuation", append(clientFrame(ws.OpText, false, []byte("x")), mark(clientFrame(ws.OpContinuation, true, nil))...), causeProtocol},
	} {
		l, bus := newTestLoop(t, func(cfg *Config) { cfg.MaxFrameBytes = 100_000 })
		ch := joinDeflating(t, l, bus, phx.V2, "room:a")
		l.feed(ch.socket, tc.frames)
		turn(l)
		if tc.want != causeNone {
			if n := l.stats.socketsEnded.n[tc.want].load(); n != 1 {
				t.Errorf("%s: not ended for %s", tc.name, tc.want)
			}
			continue
		}
		if texts, _ := inflated(t, ch); len(texts) == 0 || !strings.Contains(texts[0], `"status":"ok"`) {
			t.Errorf("%s: %q, want the leave answered", tc.name, texts)
		}
	}
	l, bus := newTestLoop(t, nil)
	s := join(t, l, bus, openSocket(l, keeping(), phx.V2), "room:a").socket
	l.feed(s, deflated(t, `[null,"9","phoenix","heartbeat",{}]`))
	if n := l.stats.socketsEnded.n[causeProtocol].load(); n != 1 {
		t.Error("a compressed message was taken although compression was not agreed on")
	}
}

// mark sets the bit of compression.
func mark(frame []byte) []byte { frame[0] |= 0x40; return frame }

// fragments splits a frame into three of a message.
func fragments(frame []byte) (out []byte) {
	r := bytes.NewReader(frame)
	h, _ := ws.ReadHeader(r)
	payload, _ := io.ReadAll(r)
	ws.Cipher(payload, h.Mask, 0)
	n := len(payload) / 3
	out = append(out, mark(clientFrame(ws.OpText, false, payload[:n]))...)
	out = append(out, clientFrame(ws.OpContinuation, false, payload[n:2*n])...)
	return append(out, clientFrame(ws.OpContinuation, true, payload[2*n:])...)
}

func FuzzInflate(f *testing.F) {
	f.Add(deflated(f, `[null,"9","phoenix","heartbeat",{}]`)[6:])
	f.Fuzz(func(t *testing.T, data []byte) {
		var i inflater
		for range 2 {
			if got, err := i.inflate(data, 1000); err == nil && len(got) > 1000 {
				t.Errorf("%d bytes", len(got))
			}
		}
	})
}

func BenchmarkDeflateFrame(b *testing.B) {
	frame := textFrame(func(dst []byte) []byte {
		return append(dst, `[null,null,"room:a","e",{"body":"`+strings.Repeat("the quick brown fox ", 15)+`"}]`...)
	})
	b.ReportAllocs()
	for b.Loop() {
		deflateFrame(frame)
	}
}

func BenchmarkInflate(b *testing.B) {
	message := deflated(b, `["1","2","room:a","say",{"body":"`+strings.Repeat("the quick brown fox ", 15)+`"}]`)[6:]
	ws.Cipher(message, [4]byte{1, 2, 3, 4}, 0)
	var i inflater
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.inflate(message, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
