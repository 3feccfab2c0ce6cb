package nats

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestOrderOfOneConnection has one backend answer calls, broadcast and push in turn, as fast as it can: 20,000 messages, none of which may overtake another
// (docs/contract.md, "Order").
func TestOrderOfOneConnection(t *testing.T) {
	t.Parallel()
	const total = 20_000
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	nc := backend(t, url)
	calls := listen(t, nc, "phx.event.ask.>")
	subscribe(t, b, "room:a")
	for i := 2; i < total; i += 3 {
		err := b.Call(&gateway.Event{Topic: "room:a", Name: "ask", Channel: "g1.a.b", Payload: []byte(strconv.Itoa(i))}, time.Minute, func(a *gateway.Answer, err error) {
			if err != nil {
				r.note(fmt.Sprintf("reply to %d: %v", i, err))
				return
			}
			r.note("reply " + string(a.Payload))
		})
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	want := make([]string, total)
	for i := range total {
		body := `{"n":` + strconv.Itoa(i) + `}`
		switch i % 3 {
		case 0:
			publish(t, nc, "phx.topic.room.a", body, "Phx-Event", "e")
			want[i] = "topic room:a e " + body
		case 1:
			publish(t, nc, "phx.channel.g1.a.b", body, "Phx-Event", "e")
			want[i] = "channel g1.a.b e " + body
		case 2:
			m := next(t, calls)
			if string(m.Data) != strconv.Itoa(i) {
				t.Fatalf("call %s came in the place of %d", m.Data, i)
			}
			publish(t, nc, m.Reply, body)
			want[i] = "reply " + body
		}
	}
	waitFor(t, "all messages", func() bool { return r.len() >= total })
	for i, line := range r.lines[:total] {
		if line != want[i] {
			t.Fatalf("message %d is %q, want %q", i, line, want[i])
		}
	}
	if gaps := b.stats.Gaps.Load(); gaps != 0 {
		t.Errorf("%d gaps", gaps)
	}
}

// TestOrderOfOneGoroutine: what one loop hands over leaves in that order, whatever it is.
func TestOrderOfOneGoroutine(t *testing.T) {
	t.Parallel()
	const total = 5000
	url := phxtest.StartNATS(t)
	b, _ := startBus(t, url)
	all := listen(t, backend(t, url), "phx.>")
	e := &gateway.Event{Topic: "room:a", Name: "e", Channel: "g1.a.b", SocketID: "ann"}
	for i := range total {
		e.Payload = []byte(`{"n":` + strconv.Itoa(i) + `}`)
		var err error
		switch i % 4 {
		case 0:
			err = b.Broadcast(e)
		case 1:
			err = b.Cast(e)
		case 2:
			err = b.Call(e, time.Minute, func(*gateway.Answer, error) {})
		case 3:
			err = b.Joined(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		clear(e.Payload) // it is the caller's again
	}
	subjects := []string{"phx.topic.room.a", "phx.event.e.room.a", "phx.event.e.room.a", "phx.joined.room.a"}
	for i := range total {
		m := next(t, all)
		body := `{"n":` + strconv.Itoa(i) + `}`
		if i%4 == 0 {
			body = `{"event":"e","payload":` + body + `,"channel":"g1.a.b","socket_id":"ann"}`
		}
		if m.Subject != subjects[i%4] || string(m.Data) != body {
			t.Fatalf("message %d is %s %s, want %s %s", i, m.Subject, m.Data, subjects[i%4], body)
		}
	}
}

// TestCloseSendsWhatWaits: phx.left of a drain must not be lost with the process.
func TestCloseSendsWhatWaits(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	nc := backend(t, url)
	left := listen(t, nc, "phx.left.>")
	b := dialBus(t, url)
	if err := b.Start(&recorder{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the bus is up", func() bool { return b.Available() })
	waiting := make(chan error, 1)
	silent := listen(t, nc, "phx.event.>")
	if err := b.Call(&gateway.Event{Topic: "room:a", Name: "ask"}, time.Minute, func(_ *gateway.Answer, err error) { waiting <- err }); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := b.Left(&gateway.Event{Topic: "room:a", Channel: "g1.a.b"}, "drained"); err != nil {
			t.Fatal(err)
		}
	}
	closeBus(b)
	for range 1000 {
		next(t, left)
	}
	next(t, silent)
	if err := within(t, "the answer to the call under way", waiting); err != gateway.ErrUnavailable {
		t.Errorf("a call under way is answered %v, want ErrUnavailable", err)
	}
	if err := b.Cast(&gateway.Event{Topic: "room:a", Name: "e"}); err != gateway.ErrUnavailable {
		t.Errorf("cast after the end: %v, want ErrUnavailable", err)
	}
	if status := b.nc().Status(); status != natsgo.CLOSED {
		t.Errorf("the connection is %v", status)
	}
}
