package hostile

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// silentClasses begin something and never finish it.
func silentClasses() []class {
	idle := phxtest.Scaled(time.Second)
	return []class{
		{"heads that never end", nil, beginHead},
		{"half messages", func(cfg *gateway.Config) { cfg.IdleTimeout = idle }, func(a *arena, v variant) func() { return beginMessage(a, v, idle) }},
	}
}

// beginHead begins a handshake that does not come to its end, in four ways: a head byte by byte, a TLS hello, random bytes, and nothing at all. It is over after
// 10 s (docs/contract.md, IDLE_TIMEOUT); how many seconds a busy machine needs more is the test's to forgive.
func beginHead(a *arena, v variant) (end func()) {
	r := a.dial()
	began := time.Now()
	switch v.n % 4 {
	case 0:
		head := upgradeHead("/socket/websocket?vsn=2.0.0", "X-Long: "+strings.Repeat("x", 4000))
		cut := v.r.IntN(200)
		r.write(head[:cut])
		r.drip(head[cut:4000])
	case 1:
		r.write(clientHello(a))
	case 2:
		r.write(randomBytes(v.r, 1+v.r.IntN(2000)))
	}
	return func() {
		a.Helper()
		if err := r.conn.SetReadDeadline(began.Add(15 * time.Second)); err != nil {
			a.fail("deadline: %v", err)
		}
		got, err := io.ReadAll(r.in)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			a.fail("still open after 15 s")
		}
		if len(got) > 0 && !bytes.HasPrefix(got, []byte("HTTP/1.1 400 ")) {
			a.fail("answered %q", got)
		}
		r.conn.Close()
	}
}

// beginMessage begins a message that does not come to its end: then silence, a byte now and then, or pings between fragments. A message must be complete within
// IDLE_TIMEOUT.
func beginMessage(a *arena, v variant, idle time.Duration) (end func()) {
	r := a.open()
	whole := text(beat("1"))
	began := time.Now()
	var pings *drip
	switch v.n % 4 {
	case 0:
		r.write(whole[:1+v.r.IntN(len(whole)-1)])
	case 1:
		r.write(whole[:3])
		r.drip(whole[3:20])
	case 2:
		r.write(frame(ws.OpText, false, beat("1")[:v.r.IntN(20)]))
	case 3:
		r.write(frame(ws.OpText, false, beat("1")[:v.r.IntN(20)]))
		pings = r.dripPieces(repeated(frame(ws.OpPing, true, ""), 1000))
	}
	return func() {
		a.Helper()
		for {
			f, err := r.next()
			if err != nil {
				a.fail("%v, want the close", err)
			}
			if pings != nil && f.Header.OpCode == ws.OpPong {
				continue
			}
			if f.Header.OpCode != ws.OpClose || string(f.Payload) != "\x03\xea" {
				a.fail("got opcode %x %q, want close 1002", f.Header.OpCode, f.Payload)
			}
			break
		}
		if took := time.Since(began); took < idle/2 || took > idle+bound() {
			a.fail("closed after %v, want about %v", took, idle)
		}
		r.wantEnd()
	}
}

// drip writes pieces slowly, until there is none left or the connection is over.
type drip struct {
	stop chan struct{} // closed when the test ends
	work sync.WaitGroup
}

func (r *raw) drip(data string) *drip { return r.dripPieces(strings.Split(data, "")) }

func (r *raw) dripPieces(pieces []string) *drip {
	d := &drip{stop: make(chan struct{})}
	d.work.Go(func() {
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for _, piece := range pieces {
			select {
			case <-d.stop:
				return
			case <-pace.C:
			}
			if _, err := io.WriteString(r.conn, piece); err != nil {
				return // the gateway ended it, which whoever reads sees
			}
		}
	})
	r.a.Cleanup(func() {
		close(d.stop)
		d.work.Wait()
	})
	return d
}

func repeated(piece string, n int) []string {
	pieces := make([]string, n)
	for i := range pieces {
		pieces[i] = piece
	}
	return pieces
}

// clientHello is the first flight of a TLS client.
func clientHello(a *arena) string {
	a.Helper()
	ours, theirs := net.Pipe()
	var work sync.WaitGroup
	work.Go(func() {
		// It fails, since nobody answers.
		_ = tls.Client(theirs, &tls.Config{ServerName: "gateway.example"}).Handshake()
		theirs.Close()
	})
	buf := make([]byte, 1<<16)
	n, err := ours.Read(buf)
	ours.Close()
	work.Wait()
	if err != nil {
		a.fail("TLS hello: %v", err)
	}
	return string(buf[:n])
}

func randomBytes(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}
