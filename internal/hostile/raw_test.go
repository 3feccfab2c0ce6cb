package hostile

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// raw is a TCP connection to the arena's gateway. It has no goroutine.
type raw struct {
	a    *arena
	conn *net.TCPConn
	in   *bufio.Reader
}

// dial connects, and says nothing. The connection is closed when the test ends.
func (a *arena) dial() *raw {
	a.Helper()
	conn, err := net.DialTimeout("tcp", a.cluster.Gateways[0].Addr, phxtest.Patience())
	if err != nil {
		a.fail("dial: %v", err)
	}
	return a.adopt(conn.(*net.TCPConn))
}

func (a *arena) adopt(conn *net.TCPConn) *raw {
	a.Cleanup(func() { conn.Close() })
	return &raw{a: a, conn: conn, in: bufio.NewReader(conn)}
}

// open connects and upgrades, as a V2 client.
func (a *arena) open() *raw {
	a.Helper()
	r := a.dial()
	r.write(upgradeHead("/socket/websocket?vsn=2.0.0"))
	r.wantStatus(http.StatusSwitchingProtocols)
	return r
}

// upgradeHead is a complete request head; extra are header lines without their line ends.
func upgradeHead(target string, extra ...string) string {
	lines := append([]string{
		"GET " + target + " HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// patience sets the deadline for the next wait.
func (r *raw) patience() {
	// An error means that the connection is closed, which the next read or write says too.
	_ = r.conn.SetDeadline(time.Now().Add(phxtest.Patience()))
}

func (r *raw) write(data string) {
	r.a.Helper()
	if err := r.try(data); err != nil {
		r.a.fail("write: %v", err)
	}
}

// try writes to a connection that the gateway may end meanwhile.
func (r *raw) try(data string) error {
	r.patience()
	_, err := io.WriteString(r.conn, data)
	return err
}

// writePieces writes in pieces of random sizes.
func (r *raw) writePieces(rnd *rand.Rand, data string) {
	r.a.Helper()
	for data != "" {
		n := min(1+rnd.IntN(1+rnd.IntN(2*len(data))), len(data))
		r.write(data[:n])
		data = data[n:]
	}
}

// answer reads the answer to a handshake, with its body; the error says that there is none.
func (r *raw) answer() (*http.Response, error) {
	r.patience()
	response, err := http.ReadResponse(r.in, nil)
	if err != nil || response.StatusCode == http.StatusSwitchingProtocols {
		return response, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response, err
}

// wantStatus wants one of the statuses; after any but 101 the connection ends.
func (r *raw) wantStatus(statuses ...int) {
	r.a.Helper()
	response, err := r.answer()
	if err != nil {
		r.a.fail("no answer: %v, want status %v", err, statuses)
	}
	for _, status := range statuses {
		if response.StatusCode == status {
			if status != http.StatusSwitchingProtocols {
				r.wantEnd()
			}
			return
		}
	}
	r.a.fail("status %d, want %v", response.StatusCode, statuses)
}

// next reads a frame, which must be one that a server may send.
func (r *raw) next() (ws.Frame, error) {
	r.patience()
	return phxtest.ReadFrame(r.in)
}

func (r *raw) want(op ws.OpCode, payload string) {
	r.a.Helper()
	f, err := r.next()
	if err != nil {
		r.a.fail("%v, want opcode %x %.200q", err, op, payload)
	}
	if f.Header.OpCode != op || string(f.Payload) != payload {
		r.a.fail("got opcode %x %.200q, want %x %.200q", f.Header.OpCode, f.Payload, op, payload)
	}
}

// message reads a text or binary frame.
func (r *raw) message() phxtest.Message {
	r.a.Helper()
	f, err := r.next()
	if err != nil {
		r.a.fail("%v, want a message", err)
	}
	if f.Header.OpCode.IsControl() {
		r.a.fail("got opcode %x %q, want a message", f.Header.OpCode, f.Payload)
	}
	m, err := phxtest.ParseMessage(phxtest.Frame{Binary: f.Header.OpCode == ws.OpBinary, Data: f.Payload})
	if err != nil {
		r.a.fail("%v", err)
	}
	return m
}

// wantServed wants a heartbeat to be answered as the next thing.
func (r *raw) wantServed() {
	r.a.Helper()
	r.write(text(beat("served")))
	r.want(ws.OpText, beatReply("served"))
}

// wantClose wants a close frame with the code and no reason (docs/contract.md, "Close codes") as the next thing, and then the end.
func (r *raw) wantClose(code int) {
	r.a.Helper()
	r.want(ws.OpClose, string([]byte{byte(code >> 8), byte(code)}))
	r.wantEnd()
}

// wantEnd wants the gateway to end its side of the connection, without a reset, and closes the other.
func (r *raw) wantEnd() {
	r.a.Helper()
	r.patience()
	if b, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		r.a.fail("byte %x and %v, want the end", b, err)
	}
	r.conn.Close()
}

// wantAborted wants the connection to be reset, after whatever was on its way.
func (r *raw) wantAborted() {
	r.a.Helper()
	r.patience()
	_, err := io.Copy(io.Discard, r.in)
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		r.a.fail("the connection ended with %v, want a reset", err)
	}
	r.conn.Close()
}

// reset ends the connection as a crashed machine's router does.
func (r *raw) reset() {
	_ = r.conn.SetLinger(0) // it may be closed already
	_ = r.conn.Close()
}

// frame is one frame, masked with the mask of RFC 6455 §5.7, so that a seed makes the same bytes again.
func frame(op ws.OpCode, fin bool, payload string) string {
	return string(ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(payload)), [4]byte{0x37, 0xfa, 0x21, 0x3d})))
}

func text(payload string) string { return frame(ws.OpText, true, payload) }

// beat is a heartbeat, beatReply its answer.
func beat(ref string) string { return `[null,"` + ref + `","phoenix","heartbeat",{}]` }

func beatReply(ref string) string {
	return `[null,"` + ref + `","phoenix","phx_reply",{"status":"ok","response":{}}]`
}
