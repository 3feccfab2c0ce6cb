package clustertest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// raw is a WebSocket connection of which a test writes and reads single frames. It has no goroutine.
type raw struct {
	t    testing.TB
	conn net.Conn
	in   io.Reader
}

func dialRaw(t testing.TB, url string, config *tls.Config) *raw {
	t.Helper()
	conn, early, _, err := ws.Dialer{TLSConfig: config, Timeout: phxtest.Patience()}.Dial(context.Background(), url)
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &raw{t: t, conn: conn, in: conn}
	if early != nil {
		r.in = early // what came with the 101, then the connection
	}
	return r
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if err := r.conn.SetWriteDeadline(time.Now().Add(phxtest.Patience())); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

// next reads a frame, which must be one that a server may send.
func (r *raw) next() ws.Frame {
	r.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(phxtest.Patience())); err != nil {
		r.t.Fatal(err)
	}
	f, err := phxtest.ReadFrame(r.in)
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return f
}

func (r *raw) want(op ws.OpCode, payload string) {
	r.t.Helper()
	if f := r.next(); f.Header.OpCode != op || string(f.Payload) != payload {
		r.t.Fatalf("got opcode %x %q, want %x %q", f.Header.OpCode, f.Payload, op, payload)
	}
}

// wantEnd wants the server to end its side of the connection, without a reset.
func (r *raw) wantEnd() {
	r.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(phxtest.Patience())); err != nil {
		r.t.Fatal(err)
	}
	var b [1]byte
	if n, err := r.in.Read(b[:]); n != 0 || !errors.Is(err, io.EOF) {
		r.t.Fatalf("%d bytes and %v, want the end", n, err)
	}
}

// frame is one masked frame.
func frame(op ws.OpCode, fin bool, payload string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload))))
}

func text(payload string) []byte { return frame(ws.OpText, true, payload) }

// beat is a heartbeat, beatReply its answer.
func beat(ref string) string { return `[null,"` + ref + `","phoenix","heartbeat",{}]` }

func beatReply(ref string) string {
	return `[null,"` + ref + `","phoenix","phx_reply",{"status":"ok","response":{}}]`
}
