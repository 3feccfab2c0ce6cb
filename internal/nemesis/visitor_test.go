package nemesis

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// visitors are sockets that reconnect and rejoin as phoenix.js does with all its waits: what a gateway sees after a deploy. A goroutine each, so that there may be many.
type visitors struct {
	addr  string
	heard func(v *visitor, f *frame)           // every message; nil: nobody listens
	idle  func(v *visitor, now time.Time)      // called now and then while the socket is open; nil: nothing
	ended func(v *visitor, code ws.StatusCode) // the socket is over, and with it all channels; nil: nobody cares

	refusals, unreachable, joinErrors, joinTimeouts, closes atomic.Int64

	stop    context.CancelFunc
	running sync.WaitGroup
	all     []*visitor
}

// visitor is one of them. All but joined is owned by its goroutine.
type visitor struct {
	*visitors
	number int
	user   string // its token; "": none

	wire     *wire
	lastRef  int
	channels []*visit
	beats    time.Time
	joined   atomic.Int32 // how many of its channels are
}

// visit is a topic that a visitor wants to be joined to.
type visit struct {
	topic   int
	state   channelState
	joinRef string
	due     time.Time
	tries   int
}

// The waits of phoenix.js (socket.js reconnectAfterMs, rejoinAfterMs).
var (
	visitorReconnects = [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}
	visitorRejoins = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second}
)

const (
	visitorBeats = 30 * time.Second
	// visitorPatience bounds a handshake; a browser waits longer.
	visitorPatience = 20 * time.Second
)

// begin starts n visitors; wants says which topics each of them joins, and as whom.
func (vs *visitors) begin(n int, wants func(number int) (user string, topics []int)) {
	ctx, stop := context.WithCancel(context.Background())
	vs.stop = stop
	for i := range n {
		v := &visitor{visitors: vs, number: i}
		var topics []int
		v.user, topics = wants(i)
		for _, topic := range topics {
			v.channels = append(v.channels, &visit{topic: topic})
		}
		vs.all = append(vs.all, v)
	}
	for _, v := range vs.all {
		vs.running.Go(func() { v.run(ctx) })
	}
}

func (vs *visitors) end() {
	vs.stop()
	vs.running.Wait()
}

// missing is how many channels are not joined now.
func (vs *visitors) missing() (n int) {
	for _, v := range vs.all {
		n += len(v.channels) - int(v.joined.Load())
	}
	return n
}

func (v *visitor) run(ctx context.Context) {
	tries := 0
	for ctx.Err() == nil {
		var err error
		if v.wire, err = v.dial(ctx); err != nil {
			var status ws.StatusError
			if errors.As(err, &status) {
				v.refusals.Add(1)
			} else {
				v.unreachable.Add(1)
			}
			pause(ctx, visitorReconnects[min(tries, len(visitorReconnects)-1)])
			tries++
			continue
		}
		unhang := context.AfterFunc(ctx, func() { v.wire.conn.Close() })
		v.serve()
		unhang()
		v.wire.conn.Close()
		v.closes.Add(1)
		v.joined.Store(0)
		if v.ended != nil {
			v.ended(v, v.wire.code)
		}
		pause(ctx, visitorReconnects[0])
		tries = 1
	}
}

func (v *visitor) dial(ctx context.Context) (*wire, error) {
	dialer := ws.Dialer{Timeout: visitorPatience, ReadBufferSize: 512, WriteBufferSize: 512}
	conn, in, _, err := dialer.Dial(ctx, "ws://"+v.addr+"/socket/websocket?vsn=2.0.0&token="+v.user)
	if err != nil {
		return nil, err
	}
	if in == nil {
		in = bufio.NewReaderSize(conn, 512)
	}
	return &wire{conn: conn, in: in}, nil
}

// serve is the life of a socket.
func (v *visitor) serve() {
	v.beats = time.Now().Add(visitorBeats)
	for _, ch := range v.channels {
		ch.tries = 0
		v.join(ch)
	}
	for {
		_ = v.wire.conn.SetReadDeadline(v.due())
		if _, err := v.wire.in.Peek(2); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		} else {
			_ = v.wire.conn.SetReadDeadline(time.Now().Add(visitorPatience))
			text, err := v.wire.receive()
			if err != nil {
				return
			}
			if f, err := parseFrame(text); err == nil { // else the answer to a heartbeat
				v.handle(&f)
			}
		}
		v.tick(time.Now())
	}
}

// due is when there is something to do. Ten thousand visitors that looked ten times a second would be the storm themselves.
func (v *visitor) due() time.Time {
	at := v.beats
	if v.idle != nil {
		at = time.Now().Add(tickEvery)
	}
	for _, ch := range v.channels {
		if (ch.state == errored || ch.state == joining) && ch.due.Before(at) {
			at = ch.due
		}
	}
	return at
}

func (v *visitor) tick(now time.Time) {
	if now.After(v.beats) {
		v.beats = now.Add(visitorBeats)
		_ = v.wire.write(ws.NewTextFrame([]byte(`[null,"beat","phoenix","heartbeat",{}]`))) // the next read tells
	}
	for _, ch := range v.channels {
		switch {
		case ch.state == errored && now.After(ch.due):
			v.join(ch)
		case ch.state == joining && now.After(ch.due):
			v.joinTimeouts.Add(1)
			v.send(ch, v.ref(), "phx_leave", struct{}{})
			v.fail(ch)
		}
	}
	if v.idle != nil {
		v.idle(v, now)
	}
}

func (v *visitor) handle(f *frame) {
	for _, ch := range v.channels {
		if ch.topic != f.topic {
			continue
		}
		switch {
		case f.event == "phx_reply" && ch.state == joining && f.ref == ch.joinRef:
			if status, _, err := f.replied(); err == nil && status == "ok" {
				ch.state, ch.tries = joined, 0
				v.joined.Add(1)
			} else {
				v.joinErrors.Add(1)
				v.fail(ch)
			}
		case f.event == "phx_error" && ch.state == joined && f.joinRef == ch.joinRef:
			v.joined.Add(-1)
			v.fail(ch)
		}
	}
	if v.heard != nil {
		v.heard(v, f)
	}
}

func (v *visitor) fail(ch *visit) {
	ch.state, ch.due = errored, time.Now().Add(visitorRejoins[min(ch.tries, len(visitorRejoins)-1)])
	ch.tries++
}

func (v *visitor) join(ch *visit) {
	ch.state, ch.joinRef, ch.due = joining, v.ref(), time.Now().Add(joinTimeout)
	v.send(ch, ch.joinRef, "phx_join", struct{}{})
}

func (v *visitor) ref() string {
	v.lastRef++
	return strconv.Itoa(v.lastRef)
}

// send sends a message on a channel. Where it fails, the next read tells.
func (v *visitor) send(ch *visit, ref, event string, payload any) {
	_ = v.wire.send(ch.joinRef, ref, ch.topic, event, payload)
}
