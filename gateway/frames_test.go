package gateway

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// conversation is what a client sends in the tests below: every kind of frame that is legal, and a close at the end.
func conversation() []byte {
	beat, _ := heartbeat("1")
	var b []byte
	b = append(b, beat...)
	b = append(b, clientFrame(ws.OpPing, true, []byte("hello"))...)
	b = append(b, clientFrame(ws.OpText, false, []byte(`[null,"2","phoe`))...)
	b = append(b, clientFrame(ws.OpPong, true, nil)...)
	b = append(b, clientFrame(ws.OpContinuation, false, nil)...)
	b = append(b, clientFrame(ws.OpPing, true, nil)...)
	b = append(b, clientFrame(ws.OpContinuation, true, []byte(`nix","heartbeat",{}]`))...)
	b = append(b, clientText(`[null,"3","x:`+string(bytes.Repeat([]byte{'y'}, 70000))+`","e",{}]`)...)
	b = append(b, clientText(`["4","4","room:a","phx_join",{}]`)...)
	b = append(b, clientFrame(ws.OpClose, true, []byte("\x03\xe8bye"))...)
	return b
}

// feedPieces feeds data to a new socket in pieces of the sizes that next says, and returns what the server wrote and the socket.
func feedPieces(l *loop, data []byte, next func() int) ([]byte, *socket) {
	tr := &fakeTransport{keep: true}
	s := openSocket(l, tr, phx.V2)
	for len(data) > 0 && s.state != gone {
		n := min(next(), len(data))
		l.feed(s, append([]byte(nil), data[:n]...))
		data = data[n:]
	}
	l.flushSockets()
	return tr.written, s
}

func whole() int { return 1 << 30 }

func TestFramesWhateverTheCuts(t *testing.T) {
	l, _ := newTestLoop(t, nil)
	data := conversation()
	want, s := feedPieces(l, data, whole)
	if s.state != closing {
		t.Fatalf("state %d after the close frame, want closing", s.state)
	}
	frames := readFrames(t, want)
	var kinds []ws.OpCode
	for _, f := range frames {
		kinds = append(kinds, f.Header.OpCode)
	}
	wantKinds := []ws.OpCode{ws.OpText, ws.OpPong, ws.OpPong, ws.OpText, ws.OpText, ws.OpClose}
	if len(kinds) != len(wantKinds) {
		t.Fatalf("got %v, want %v", kinds, wantKinds)
	}
	for i := range kinds {
		if kinds[i] != wantKinds[i] {
			t.Fatalf("got %v, want %v", kinds, wantKinds)
		}
	}
	if string(frames[1].Payload) != "hello" {
		t.Errorf("pong %q, want the ping's payload (RFC 6455 §5.5.3)", frames[1].Payload)
	}
	if string(frames[5].Payload) != "\x03\xe8" {
		t.Errorf("close frame %x, want the client's code", frames[5].Payload)
	}
	sizes := map[string]func() int{"1 byte": func() int { return 1 }, "a frame and a half": func() int { return 61 }, "4 KiB": func() int { return 4096 }}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		sizes["seed "+strconv.FormatUint(seed, 10)] = func() int { return 1 + r.IntN(1<<r.IntN(17)) }
	}
	for name, next := range sizes {
		got, s := feedPieces(l, data, next)
		if !bytes.Equal(got, want) || s.state != closing {
			t.Errorf("%s: %d bytes written, want %d; state %d", name, len(got), len(want), s.state)
		}
	}
	if l.srv.inboundBytes.Load() != 0 {
		t.Errorf("%d bytes are counted as kept, nothing is", l.srv.inboundBytes.Load())
	}
}

func TestFrameViolations(t *testing.T) {
	l, _ := newTestLoop(t, func(cfg *Config) { cfg.MaxFrameBytes = 1000 })
	beat, reply := heartbeat("1")
	thousand := bytes.Repeat([]byte{'['}, 1000)
	concat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name string
		data []byte
		code ws.StatusCode
	}{
		{"unmasked", ws.MustCompileFrame(ws.NewTextFrame([]byte("x"))), 1002},
		{"reserved bit", []byte("\xc1\x80\x00\x00\x00\x00"), 1002},
		{"reserved opcode", []byte("\x83\x80\x00\x00\x00\x00"), 1002},
		{"control in fragments", clientFrame(ws.OpPing, false, nil), 1002},
		{"continuation of nothing", clientFrame(ws.OpContinuation, true, []byte("x")), 1002},
		{"text inside a text", concat(clientFrame(ws.OpText, false, []byte("[")), clientText("]")), 1002},
		{"continuation after the end", concat(clientFrame(ws.OpText, false, []byte(`[null,"1","phoenix",`)),
			clientFrame(ws.OpContinuation, true, []byte(`"heartbeat",{}]`)), clientFrame(ws.OpContinuation, true, nil)), 1002},
		{"not UTF-8", clientText("[\"\xff\"]"), 1007},
		{"half a character at the end", concat(clientFrame(ws.OpText, false, []byte("\xc3")), clientFrame(ws.OpContinuation, true, nil)), 1007},
		{"one byte too large", clientText(string(append(thousand, '['))), 1009},
		{"fragments too large together", concat(clientFrame(ws.OpText, false, thousand), clientFrame(ws.OpContinuation, true, []byte("x"))), 1009},
		{"a length of 2^62 alone", []byte("\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1009},
		{"no JSON", clientText("x"), 1011},
		{"an object", clientText("{}"), 1011},
		{"large enough, but no message", clientText(string(thousand)), 1011},
		{"close code 1005", clientFrame(ws.OpClose, true, []byte("\x03\xed")), 1002},
		{"close frame of one byte", clientFrame(ws.OpClose, true, []byte("\x03")), 1002},
	} {
		for name, next := range map[string]func() int{"whole": whole, "byte by byte": func() int { return 1 }} {
			// What came before is answered; what comes after is not looked at.
			got, s := feedPieces(l, concat(beat, c.data, beat), next)
			frames := readFrames(t, got)
			last := frames[len(frames)-1]
			if s.state != closing || last.Header.OpCode != ws.OpClose || !bytes.Equal(last.Payload, []byte{byte(c.code >> 8), byte(c.code)}) {
				t.Errorf("%s, %s: state %d, last frame %v %x; want close %d", c.name, name, s.state, last.Header.OpCode, last.Payload, c.code)
			}
			if string(frames[0].Payload) != reply {
				t.Errorf("%s, %s: the frame before it is not answered: %q", c.name, name, frames[0].Payload)
			}
			for _, f := range frames[1 : len(frames)-1] {
				if c.name != "continuation after the end" {
					t.Errorf("%s, %s: %q before the close frame", c.name, name, f.Payload)
				}
			}
		}
	}
	if l.srv.inboundBytes.Load() != 0 {
		t.Errorf("%d bytes are counted as kept, nothing is", l.srv.inboundBytes.Load())
	}
}

// TestInboundTotal wants the largest keeper of incomplete messages to be closed, and nobody else.
func TestInboundTotal(t *testing.T) {
	l, _ := newTestLoop(t, func(cfg *Config) { cfg.InboundBytesTotal = 100_000 })
	begin := func(n int) (*fakeTransport, *socket) {
		tr := &fakeTransport{keep: true}
		s := openSocket(l, tr, phx.V2)
		l.feed(s, clientFrame(ws.OpBinary, true, make([]byte, 200_000))[:n])
		return tr, s
	}
	_, small := begin(1000)
	_, middle := begin(20_000)
	tr, large := begin(65_000)
	if large.state != open || middle.state != open {
		t.Fatalf("closed below the limit: %d bytes are kept", l.srv.inboundBytes.Load())
	}
	l.feed(middle, make([]byte, 20_000))
	l.flushSockets()
	if large.state != closing || small.state != open || middle.state != open {
		t.Errorf("states %d %d %d, want the largest closed", small.state, middle.state, large.state)
	}
	if f := tr.frames(t); len(f) != 1 || !bytes.Equal(f[0].Payload, []byte{0x03, 0xf1}) {
		t.Errorf("got %v, want close 1009", f)
	}
	if want := small.in.accounted + middle.in.accounted; l.srv.inboundBytes.Load() != int64(want) {
		t.Errorf("%d bytes are counted, %d are kept", l.srv.inboundBytes.Load(), want)
	}
}

// TestBusyClientIsNotIdle: a client that sends all the time must not be closed because each of its reads happens to end inside a frame. What must be complete
// within IDLE_TIMEOUT is one message.
func TestBusyClientIsNotIdle(t *testing.T) {
	for name, half := range map[string][]byte{"within a frame": nil, "within fragments": clientFrame(ws.OpText, false, []byte(`[null,"1",`))} {
		t.Run(name, func(t *testing.T) {
			l, _ := newTestLoop(t, func(cfg *Config) { cfg.IdleTimeout = 10 * time.Second })
			s := openSocket(l, &fakeTransport{}, phx.V2)
			message, _ := heartbeat("1")
			cut := len(message) / 2
			if half != nil {
				message = append(half, clientFrame(ws.OpContinuation, true, []byte(`"phoenix","heartbeat",{}]`))...)
				cut = len(half)
			}
			l.feed(s, append([]byte(nil), message[:cut]...))
			turned := append(append([]byte(nil), message[cut:]...), message[:cut]...)
			for range 30 { // a message completed every second
				l.now += ticks(time.Second)
				l.feed(s, append([]byte(nil), turned...))
				l.flushSockets()
				l.checkTime(s)
				if s.state != open {
					t.Fatalf("closed %v after it began, one second after its last complete message", time.Duration(l.now-s.lastRead)*tickLength)
				}
			}
			l.now += ticks(11 * time.Second)
			l.checkTime(s)
			if s.state == open {
				t.Error("a silent client with half a message is not closed")
			}
		})
	}
}

// FuzzFrames feeds any bytes to a socket whole and in pieces: it never panics, and the cuts make no difference.
func FuzzFrames(f *testing.F) {
	beat, _ := heartbeat("1")
	f.Add(conversation()[:300], uint64(1))
	f.Add(beat, uint64(2))
	f.Add(clientFrame(ws.OpClose, true, []byte("\x03\xe8")), uint64(3))
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x01\x02\x03\x04"), uint64(4))
	f.Add(append(clientFrame(ws.OpText, false, []byte("[")), clientText("]")...), uint64(5))
	f.Add(clientFrame(ws.OpBinary, true, []byte("\x00\x01\x01\x06\x0111room:ae{}")), uint64(6))
	f.Add(append(clientText(`["1","1","room:a","phx_join",{}]`), clientText(`["1","2","room:a","phx_leave",{}]`)...), uint64(7))
	l, _ := newTestLoop(f, func(cfg *Config) { cfg.MaxFrameBytes = 2000 })
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) > 8000 {
			t.Skip()
		}
		want, a := feedPieces(l, data, whole)
		r := rand.New(rand.NewPCG(seed, 9))
		got, b := feedPieces(l, data, func() int { return 1 + r.IntN(20) })
		if !bytes.Equal(got, want) || a.state != b.state {
			t.Errorf("in pieces: state %d, %x\nwhole: state %d, %x", b.state, got, a.state, want)
		}
		l.abort(a, causeClient)
		l.abort(b, causeClient)
		if l.srv.inboundBytes.Load() != 0 {
			t.Fatalf("%d bytes are counted though no socket is left", l.srv.inboundBytes.Load())
		}
		l.mailbox.take(nil)
	})
}
