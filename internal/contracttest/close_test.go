package contracttest

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// frame is a client's frame, masked with zeros, which leave the data as it is.
func frame(first byte, data string) []byte {
	b := []byte{first}
	switch n := len(data); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), data...)
}

// First bytes of frames (RFC 6455 §5.2).
const (
	fin          = 0x80
	continuation = 0x0
	text         = 0x1
	binaryFrame  = 0x2
	closeFrame   = 0x8
	ping         = 0x9
)

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "MAX_FRAME_BYTES=1000")
	join := `["1","1","room:1","phx_join",{}]`
	for _, test := range []struct {
		name string
		raw  []byte
		vsn  string
		code int
	}{
		{"unmasked", []byte{fin | text, 2, '[', ']'}, "2.0.0", 1002},
		{"reserved bit", frame(fin|0x40|text, join), "2.0.0", 1002},
		{"reserved opcode", frame(fin|0x3, join), "2.0.0", 1002},
		{"continuation of nothing", frame(fin|continuation, join), "2.0.0", 1002},
		{"text within fragments", append(frame(text, "["), frame(fin|text, join)...), "2.0.0", 1002},
		{"fragmented ping", frame(ping, ""), "2.0.0", 1002},
		{"ping of 126 bytes", frame(fin|ping, strings.Repeat("x", 126)), "2.0.0", 1002},
		{"close frame of one byte", frame(fin|closeFrame, "\x03"), "2.0.0", 1002},
		{"not UTF-8", frame(fin|text, "[\"\xff\"]"), "2.0.0", 1007},
		{"not UTF-8 over two fragments", append(frame(text, "[\"\xe2"), frame(fin|continuation, "\x28\"]")...), "2.0.0", 1007},
		{"1001 bytes", frame(fin|text, strings.Repeat(" ", 1001)), "2.0.0", 1009},
		{"only the head of a huge frame", []byte{fin | text, 0x80 | 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "2.0.0", 1009},
		{"1001 bytes in fragments", append(frame(text, strings.Repeat(" ", 600)), frame(fin|continuation, strings.Repeat(" ", 401))...), "2.0.0", 1009},
		{"not JSON", frame(fin|text, `[`), "2.0.0", 1011},
		{"empty", frame(fin|text, ``), "2.0.0", 1011},
		{"object", frame(fin|text, `{"topic":"a","event":"b","payload":{},"ref":"1"}`), "2.0.0", 1011},
		{"four elements", frame(fin|text, `["1","1","room:1","phx_join"]`), "2.0.0", 1011},
		{"empty binary", frame(fin|binaryFrame, ``), "2.0.0", 1011},
		{"binary of another kind", frame(fin|binaryFrame, "\x01\x00\x00\x00\x00"), "2.0.0", 1011},
		{"binary cut short", frame(fin|binaryFrame, "\x00\x01\x01\x06\x0311room"), "2.0.0", 1011},
		{"V1 array", frame(fin|text, join), "1.0.0", 1011},
		{"V1 without payload", frame(fin|text, `{"topic":"a","event":"b","ref":"1"}`), "1.0.0", 1011},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := phxtest.Dial(t, g.url("vsn="+test.vsn))
			c.SendRaw(test.raw)
			c.WantClosed(test.code)
			c.WantEnded()
			if strings.Contains(c.Log().String(), "close reason") {
				t.Errorf("a close frame with a reason:\n%s", c.Log())
			}
		})
	}
	c := g.dial(t)
	c.SendRaw(append(frame(text, join[:5]), append(frame(fin|ping, "x"), frame(fin|continuation, join[5:])...)...))
	c.WantReply("1", "ok")
	c.SendRaw(frame(fin|text, `["1","2","room:1","ask",{}]`+strings.Repeat(" ", 1000-27)))
	wantError(t, c, "2", "no backend")
	c.SendClose(1001)
	if code := c.WantClosed(); code == 1006 {
		t.Error("a close frame was not answered")
	}
	c.WantEnded()
}

// The TCP connection ends within 5 s of the close frame, whatever the client
// does: these two do nothing and send more.
func TestConnectionEndsAfterClose(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "CONNECT_AUTH=authz")
	serveIDs(b)
	for _, uid := range []string{"idle", "busy"} {
		t.Run(uid, func(t *testing.T) {
			t.Parallel()
			conns := make(chan net.Conn, 1)
			c := phxtest.Dial(t, g.url("uid="+uid+"&vsn=2.0.0"), phxtest.NoCloseReply(),
				phxtest.NetDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
					var d net.Dialer
					conn, err := d.DialContext(ctx, network, addr)
					if err == nil {
						conns <- conn
					}
					return conn, err
				}))
			c.Join("room:1", struct{}{})
			conn := <-conns
			b.publish("phx.socket."+uid, ``, "Phx-Action", "disconnect")
			c.WantClosed(1001)
			start := time.Now()
			if uid == "busy" {
				stop := make(chan struct{})
				stopped := make(chan struct{})
				defer func() { close(stop); <-stopped }()
				go func() {
					defer close(stopped)
					tick := time.NewTicker(50 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-stop:
							return
						case <-tick.C:
							// An error is what the test waits for.
							_, _ = conn.Write(frame(fin|text, `[null,"1","phoenix","heartbeat",{}]`))
						}
					}
				}()
			}
			c.WantEnded()
			if took := time.Since(start); took > 5*time.Second+phxtest.Scaled(500*time.Millisecond) {
				t.Errorf("ended after %v, want 5 s at most", took)
			}
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "IDLE_TIMEOUT=1s")
	alive := g.dial(t, phxtest.Name("alive"))
	alive.Join("room:1", struct{}{})
	start := time.Now()
	idle, partial := g.dial(t, phxtest.Name("idle")), g.dial(t, phxtest.Name("partial"))
	idle.Join("room:1", struct{}{})
	partial.SendRaw(frame(text, `["1"`))
	deadline := time.After(2500 * time.Millisecond)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-tick.C:
			alive.SendPing(nil) // any frame is a sign of life
			// What the server sends is none.
			b.publish("phx.topic.room.1", `{}`, "Phx-Event", "news")
		case <-deadline:
			waiting = false
		}
	}
	alive.Drain()
	alive.Heartbeat()
	for _, c := range []*phxtest.Client{idle, partial} {
		c.Drain()
		c.WantClosed(1002)
		c.WantEnded()
	}
	if took := time.Since(start); took > phxtest.Scaled(4*time.Second) {
		t.Errorf("over after %v, want soon after 1 s", took)
	}
}

// A message must be complete within IDLE_TIMEOUT, however steadily it drips.
func TestSlowMessage(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "IDLE_TIMEOUT=1s")
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	whole := frame(fin|text, strings.Repeat(" ", 10_000))
	if _, err := conn.Write(whole[:8]); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for n := 8; ; n++ {
		<-tick.C
		if _, err := conn.Write(whole[n : n+1]); err != nil {
			break
		}
		if time.Since(start) > 7*time.Second+phxtest.Scaled(time.Second) {
			t.Fatal("a message that takes longer than IDLE_TIMEOUT is still read")
		}
	}
}
