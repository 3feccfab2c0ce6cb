package contracttest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// callsOnly lets a backend take its time.
const callsOnly = `channels:
  - topic: "free:*"
    join: allow
    events: [{event: "*", do: call, timeout: 60s, concurrent: true}]
  - topic: "*"
    join: allow
    events: [{event: "*", do: call, timeout: 60s}]
`

func TestOneEventAtATime(t *testing.T) {
	t.Parallel()
	g, b := setup(t, callsOnly)
	events := b.listen("phx.event.>")
	c := g.dial(t)
	for _, topic := range []string{"room:1", "room:2", "free:1"} {
		c.Join(topic, struct{}{})
	}
	first := c.Push("room:1", "a", struct{}{})
	second := c.Push("room:1", "b", struct{}{})
	held := next(t, events)
	// Other channels never wait, and one that is concurrent does not for itself.
	c.Push("room:2", "c", struct{}{})
	c.Push("free:1", "d", struct{}{})
	c.Push("free:1", "e", struct{}{})
	var replies []*nats.Msg
	for _, want := range []string{"c.room.2", "d.free.1", "e.free.1"} {
		msg := next(t, events)
		if msg.Subject != "phx.event."+want {
			t.Fatalf("got %s, want %s", msg.Subject, want)
		}
		replies = append(replies, msg)
	}
	nothing(t, events, 100*time.Millisecond)
	reply(replies[2], `{"n":"e"}`)
	c.Want(`["3","8","free:1","phx_reply",{"status":"ok","response":{"n":"e"}}]`)
	reply(replies[1], `{"n":"d"}`)
	c.Want(`["3","7","free:1","phx_reply",{"status":"ok","response":{"n":"d"}}]`)
	reply(held, ``, "Phx-Assigns", `{"seen":["a"]}`)
	c.WantReply(first, "ok")
	msg := next(t, events)
	if msg.Subject != "phx.event.b.room.1" {
		t.Errorf("got %s, want b", msg.Subject)
	}
	wantHeaders(t, msg, "Phx-Assigns", `{"seen":["a"]}`)
	reply(msg, ``)
	c.WantReply(second, "ok")
}

func TestLateReplies(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	events := b.listen("phx.event.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.SendText(`["1","first","room:1","ask",{}]`)
	msg := next(t, events)
	subject := "phx.channel." + msg.Header.Get("Phx-Channel")
	reply(msg, ``, "Phx-Status", "none")
	c.SendText(`["1","a=3D","room:1","ask",{}]`)
	msg = next(t, events)
	ref := msg.Header.Get("Phx-Ref")
	reply(msg, ``, "Phx-Status", "none")
	b.publish(subject, `{"n": 2.0}`, "Phx-Ref", ref, "Phx-Status", "done")
	c.Want(`["1","a=3D","room:1","phx_reply",{"status":"done","response":{"n":2.0}}]`)
	b.publish(subject, ``, "Phx-Ref", "first", "Phx-Status", "ok")
	c.Want(`["1","first","room:1","phx_reply",{"status":"ok","response":{}}]`)
	b.publish(subject, "\x00", "Phx-Ref", "first", "Phx-Status", "ok", "Phx-Encoding", "binary")
	c.WantBinary([]byte("\x01\x01\x05\x06\x021firstroom:1ok\x00"))
}

// A leave waits for the events before it; all of them are handed over.
func TestLeaveWaitsItsTurn(t *testing.T) {
	t.Parallel()
	g, b := setup(t, callsOnly)
	events, left := b.listen("phx.event.>"), b.listen("phx.left.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.Push("room:1", "a", struct{}{})
	c.Push("room:1", "b", struct{}{})
	c.Push("room:1", "phx_leave", struct{}{})
	a := next(t, events)
	c.Heartbeat() // the leave has been seen by now
	c.WantNothing(50 * time.Millisecond)
	reply(a, ``)
	c.Want(`["1","2","room:1","phx_reply",{"status":"ok","response":{}}]`)
	msg := next(t, events)
	if msg.Subject != "phx.event.b.room.1" {
		t.Fatalf("got %s, want b", msg.Subject)
	}
	nothing(t, left, 50*time.Millisecond)
	reply(msg, ``)
	c.Want(`["1","3","room:1","phx_reply",{"status":"ok","response":{}}]`)
	c.Want(`["1","4","room:1","phx_reply",{"status":"ok","response":{}}]`)
	c.Want(`["1","1","room:1","phx_close",{}]`)
	if msg := next(t, left); string(msg.Data) != `{"reason":"left"}` {
		t.Errorf("left: %s", msg.Data)
	}
}

// Events that came before the end of the socket are handed over, in order,
// and left comes after the last of them.
func TestEventsBeforeTheSocketEnds(t *testing.T) {
	t.Parallel()
	g, b := setup(t, callsOnly)
	all := b.listen("phx.>")
	replies := map[string]bool{} // our own, where the inbox is under the prefix
	nextOther := func() *nats.Msg {
		t.Helper()
		msg := next(t, all)
		for replies[msg.Subject] {
			msg = next(t, all)
		}
		return msg
	}
	for name, end := range map[string]func(*phxtest.Client){
		"drop":  func(c *phxtest.Client) { c.Drop() },
		"close": func(c *phxtest.Client) { c.SendClose(1000) },
	} {
		c := g.dial(t, phxtest.Name(name))
		c.Join("room:1", struct{}{})
		for _, event := range []string{"a", "b", "c"} {
			c.Push("room:1", event, struct{}{})
		}
		c.Heartbeat() // all of them were read
		end(c)
		if msg := next(t, all); msg.Subject != "phx.joined.room.1" {
			t.Fatalf("%s: got %s, want joined", name, msg.Subject)
		}
		for _, event := range []string{"a", "b", "c"} {
			msg := nextOther()
			if msg.Subject != "phx.event."+event+".room.1" {
				t.Fatalf("%s: got %s, want event %s", name, msg.Subject, event)
			}
			nothing(t, all, 30*time.Millisecond)
			reply(msg, ``)
			replies[msg.Reply] = true
		}
		msg := nextOther()
		if msg.Subject != "phx.left.room.1" || string(msg.Data) != `{"reason":"disconnected"}` {
			t.Errorf("%s: got %s %s, want left, disconnected", name, msg.Subject, msg.Data)
		}
	}
}

// At most 10 s, though: the second event is given up then.
func TestEventsBeforeALeaveAreGivenUp(t *testing.T) {
	t.Parallel()
	g, b := setup(t, callsOnly)
	events, left := b.listen("phx.event.>"), b.listen("phx.left.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.Push("room:1", "a", struct{}{})
	c.Push("room:1", "b", struct{}{})
	next(t, events)
	start := time.Now()
	c.Drop()
	msg, err := left.NextMsg(10*time.Second + phxtest.Patience())
	if err != nil {
		t.Fatalf("no left: %v", err)
	}
	if took := time.Since(start); took < 9*time.Second || string(msg.Data) != `{"reason":"disconnected"}` {
		t.Errorf("left %s after %v, want disconnected after 10 s", msg.Data, took)
	}
	nothing(t, events, 50*time.Millisecond)
}

// A duplicate join waits for nothing; what waited is dropped, and the answer
// finds its channel gone.
func TestDuplicateJoin(t *testing.T) {
	t.Parallel()
	g, b := setup(t, callsOnly)
	events, left, joined := b.listen("phx.event.>"), b.listen("phx.left.>"), b.listen("phx.joined.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	old := next(t, joined).Header.Get("Phx-Channel")
	c.Push("room:1", "a", struct{}{})
	c.Push("room:1", "b", struct{}{})
	held := next(t, events)
	c.StartJoin("room:1", struct{}{})
	c.Want(`["4","4","room:1","phx_reply",{"status":"ok","response":{}}]`)
	c.Want(`["1","1","room:1","phx_close",{}]`)
	msg := next(t, left)
	wantHeaders(t, msg, "Phx-Channel", old)
	if string(msg.Data) != `{"reason":"rejoined"}` {
		t.Errorf("left: %s", msg.Data)
	}
	if id := next(t, joined).Header.Get("Phx-Channel"); id == old {
		t.Errorf("channel id %s is used again", id)
	}
	reply(held, `{"late":true}`, "Phx-Action", "close", "Phx-Assigns", `{"late":true}`)
	b.publish("phx.channel."+old, `{}`, "Phx-Event", "lost")
	b.publish("phx.channel."+old, ``, "Phx-Action", "crash")
	b.flush()
	ref := c.Push("room:1", "c", struct{}{})
	msg = next(t, events)
	if msg.Subject != "phx.event.c.room.1" {
		t.Errorf("got %s, want c alone", msg.Subject)
	}
	wantHeaders(t, msg, "Phx-Assigns", "{}")
	reply(msg, ``)
	c.Want(`["4","` + ref + `","room:1","phx_reply",{"status":"ok","response":{}}]`)
}
