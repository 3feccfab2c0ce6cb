package hostile

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// floodClasses send much, or do not take what they are sent.
func floodClasses() []class {
	return []class{
		{"fragment floods", nil, fragmentFlood},
		{"ping floods", nil, pingFlood},
		{"connect and reset", nil, connectAndReset},
		{"never reading", nil, neverReading},
	}
}

// fragmentFlood sends a message in thousands of fragments, most of them empty, which RFC 6455 §5.4 allows.
func fragmentFlood(a *arena, v variant) (end func()) {
	r := a.open()
	message := beat("1")
	var flood strings.Builder
	flood.WriteString(frame(ws.OpText, false, ""))
	for range 3000 + v.r.IntN(3000) {
		n := 0
		if v.r.IntN(100) == 0 && len(message) > 1 {
			n = 1
		}
		flood.WriteString(frame(ws.OpContinuation, false, message[:n]))
		message = message[n:]
	}
	flood.WriteString(frame(ws.OpContinuation, true, message))
	r.writePieces(v.r, flood.String())
	return func() {
		r.want(ws.OpText, beatReply("1"))
		r.wantServed()
		r.conn.Close()
	}
}

// pingFlood sends thousands of pings. Each is answered, in order (RFC 6455 §5.5.2), unless the pongs are not read: then the socket is aborted.
func pingFlood(a *arena, v variant) (end func()) {
	if v.n%5 == 0 {
		before := a.count("phxgate.sockets.ended", "slow")
		r := a.openSmall()
		flood := strings.Repeat(frame(ws.OpPing, true, strings.Repeat("p", 125)), 500)
		for n := 0; r.try(flood) == nil; n++ {
			if n > 1000 {
				a.fail("64 MB of pings, and no pong was read: the socket is still open")
			}
		}
		clustertest.WaitFor(a, "the socket ended as slow", func() bool { return a.count("phxgate.sockets.ended", "slow") == before+1 })
		r.conn.Close()
		return nil
	}
	r := a.open()
	const batches, pings = 10, 200
	n := v.r.IntN(120)
	for b := range batches {
		var flood strings.Builder
		for i := range pings {
			flood.WriteString(frame(ws.OpPing, true, fmt.Sprintf("%04d%s", b*pings+i, strings.Repeat("p", n))))
		}
		r.write(flood.String())
		for i := range pings {
			r.want(ws.OpPong, fmt.Sprintf("%04d%s", b*pings+i, strings.Repeat("p", n)))
		}
	}
	return func() {
		r.wantServed()
		r.conn.Close()
	}
}

// connectAndReset connects 500 times in all and resets at different stages.
func connectAndReset(a *arena, v variant) (end func()) {
	head := upgradeHead("/socket/websocket?vsn=2.0.0")
	for range 500 / variants {
		r := a.dial()
		switch v.r.IntN(5) {
		case 0:
		case 1:
			r.write(head[:v.r.IntN(len(head))])
		case 2:
			r.write(head)
		case 3:
			r.write(head)
			r.wantStatus(http.StatusSwitchingProtocols)
			r.write(text(`["1","1","reset","phx_join",{}]`))
		case 4: // a message before the 101 is read
			r.write(head + text(`["1","1","reset","phx_join",{}]`) + text(`["1","2","reset","x",{}]`))
		}
		r.reset()
	}
	return nil
}

// openSmall is open with a receive buffer so small that a client that does not read is noticed soon.
func (a *arena) openSmall() *raw {
	a.Helper()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		if err == nil {
			err = set
		}
		return err
	}}
	conn, err := dialer.DialContext(context.Background(), "tcp", a.cluster.Gateways[0].Addr)
	if err != nil {
		a.fail("dial: %v", err)
	}
	r := a.adopt(conn.(*net.TCPConn))
	r.write(upgradeHead("/socket/websocket?vsn=2.0.0"))
	r.wantStatus(http.StatusSwitchingProtocols)
	return r
}

// neverReading joins a topic and reads no more. The first to end has 10 MB broadcast there: all of them are aborted, while one that reads gets every message.
func neverReading(a *arena, v variant) (end func()) {
	r := a.openSmall()
	r.write(text(`["1","1","flood","phx_join",{}]`))
	r.want(ws.OpText, `["1","1","flood","phx_reply",{"status":"ok","response":{}}]`)
	return func() {
		if v.n == 0 {
			reader := phxtest.Dial(a, a.cluster.URL(0, "vsn=2.0.0"), phxtest.Name("reader"))
			reader.Join("flood", struct{}{})
			const window = 4
			var sent []int
			publish := func() {
				size := 1 + v.r.IntN(40_000)
				sent = append(sent, size)
				if err := a.seen.nc.Publish("phx.topic.flood", fmt.Appendf(nil, `{"event":"e","payload":{"x":"%s"}}`, strings.Repeat("x", size))); err != nil {
					a.fail("publish: %v", err)
				}
			}
			for range window {
				publish()
			}
			for total, n := 0, 0; n < len(sent); n++ {
				f := reader.Recv(phxtest.Patience())
				if want := `[null,null,"flood","e",{"x":"` + strings.Repeat("x", sent[n]) + `"}]`; string(f.Data) != want {
					a.fail("broadcast %d: got %v", n, f)
				}
				if total += sent[n]; total < 10_000_000 {
					publish()
				}
			}
			clustertest.WaitFor(a, "all that do not read are aborted", func() bool { return a.count("phxgate.sockets.ended", "slow") == variants })
			reader.Heartbeat()
			reader.Drop()
		}
		r.wantAborted()
	}
}
