package contracttest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// cable is the TCP connection of a backend, to be cut as the kernel cuts those of a process that was killed.
type cable struct {
	mu   sync.Mutex // guards conn
	conn net.Conn
}

// Dial implements nats.CustomDialer.
func (c *cable) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	return conn, err
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.(*net.TCPConn).SetLinger(0) // a reset: nothing that was on its way arrives
	c.conn.Close()
}

// mortal connects a backend that can be killed.
func mortal(t *testing.T, url string) (*backend, func()) {
	t.Helper()
	c := &cable{}
	b := connectBackend(t, url, nats.SetCustomDialer(c), nats.NoReconnect())
	return b, c.cut
}

// A backend that is slow holds up the events of the channel that it serves, and nothing else. When the rule's timeout is over the next event is handed over, though the last is still being worked at.
func TestSlowBackend(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels: [{topic: "*", join: allow, events: [{event: held, do: call, timeout: 60s}, {event: slow, do: call, timeout: 200ms}, {event: "*", do: call}]}]`)
	held, slow := b.listen("phx.event.held.>"), b.listen("phx.event.slow.>")
	b.answer("phx.event.ask.>", `{"pong":true}`)
	c, other := g.dial(t), g.dial(t)
	c.Join("room:1", struct{}{})
	c.Join("room:2", struct{}{})
	other.Join("room:1", struct{}{})
	first := c.Push("room:1", "held", struct{}{})
	msg := next(t, held)
	second := c.Push("room:1", "slow", struct{}{})
	third := c.Push("room:1", "ask", struct{}{})
	c.Call("room:2", "ask", struct{}{}, "ok")
	other.Call("room:1", "ask", struct{}{}, "ok")
	c.Heartbeat()
	b.publish("phx.topic.room.1", `{}`, "Phx-Event", "m")
	c.WantEvent("room:1", "m", `{}`)
	if n, _, err := slow.Pending(); n != 0 || err != nil {
		t.Errorf("the next event was handed over before the last was answered (%v)", err)
	}
	reply(msg, `{"n":1}`)
	wantJSON(t, "the slow answer", c.WantReply(first, "ok").Payload, `{"n":1}`)
	late := next(t, slow)
	wantError(t, c, second, "timeout")
	c.WantReply(third, "ok")
	reply(late, `{"late":true}`)
	c.Call("room:1", "ask", struct{}{}, "ok")
}

// A backend that dies in a call is one that does not answer; the next call is told at once that nobody is there, until somebody is.
func TestBackendDiesInACall(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels: [{topic: "*", join: allow, events: [{event: "*", do: call, timeout: 1s}]}]`)
	dying, kill := mortal(t, b.nc.ConnectedUrl())
	events := dying.listen("phx.event.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	held := c.Push("room:1", "ask", struct{}{})
	next(t, events)
	behind := c.Push("room:1", "ask", struct{}{})
	began := time.Now()
	kill()
	wantError(t, c, held, "timeout")
	wantError(t, c, behind, "no backend")
	if took := time.Since(began); took > phxtest.Scaled(3*time.Second) {
		t.Errorf("the client was told after %v, want the timeout of one call", took)
	}
	b.answer("phx.event.>", `{"back":true}`)
	wantJSON(t, "answer of its successor", c.Call("room:1", "ask", struct{}{}, "ok"), `{"back":true}`)
}

// replica answers events with who it is, and notes what it handled.
type replica struct {
	name    string
	handled atomic.Int64
}

// Of the replicas in a queue group one gets each event, calls and casts, however many gateways there are; when one is killed the others have its share, and what it had is a timeout.
func TestReplicasOfABackend(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	const rules = `channels: [{topic: "*", join: allow, events: [{event: note, do: cast}, {event: "*", do: call, timeout: 1s}]}]`
	gateways := []*gateway{startGateway(t, url, rules), startGateway(t, url, rules)}
	var mu sync.Mutex // guards seen
	seen := map[string]int{}
	var replicas []*replica
	var kills []func()
	for n := range 3 {
		b, kill := mortal(t, url)
		r := &replica{name: fmt.Sprintf(`{"replica":%d}`, n)}
		if _, err := b.nc.QueueSubscribe("phx.event.*.room.>", "chat", func(msg *nats.Msg) {
			r.handled.Add(1)
			mu.Lock()
			seen[string(msg.Data)]++
			mu.Unlock()
			if msg.Reply != "" {
				reply(msg, r.name)
			}
		}); err != nil {
			t.Fatal(err)
		}
		b.flush()
		replicas, kills = append(replicas, r), append(kills, kill)
	}
	var clients []*phxtest.Client
	for n := range 4 {
		c := gateways[n%2].dial(t)
		c.Join("room:1", struct{}{})
		clients = append(clients, c)
	}
	const rounds = 60
	for n := range rounds {
		for i, c := range clients {
			c.Push("room:1", "note", map[string]int{"cast": n, "of": i})
			c.Call("room:1", "ask", map[string]int{"call": n, "of": i}, "ok")
		}
	}
	want := 2 * rounds * len(clients)
	waitFor(t, "every event to be handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == want
	})
	for _, r := range replicas {
		if r.handled.Load() < int64(want)/20 {
			t.Errorf("%s handled %d of %d events", r.name, r.handled.Load(), want)
		}
	}
	mu.Lock()
	for event, n := range seen {
		if n != 1 {
			t.Errorf("%s was handled %d times", event, n)
		}
	}
	mu.Unlock()

	kills[0]()
	before := replicas[0].handled.Load()
	for n := range rounds { // those that the server still had for it are lost with it: the client is told
		c := clients[n%len(clients)]
		m := c.WantReply(c.Push("room:1", "ask", map[string]int{"after": n}), "")
		if m.Status == "ok" && string(m.Payload) == replicas[0].name {
			t.Errorf("an answer of a backend that is gone")
		}
		if m.Status != "ok" {
			wantJSON(t, "the error", m.Payload, `{"reason":"timeout"}`)
		}
	}
	if n := replicas[0].handled.Load(); n != before {
		t.Errorf("%d events were handled by a backend that is gone", n-before)
	}
	for range rounds / 2 {
		clients[0].Call("room:1", "ask", struct{}{}, "ok")
	}
}

// Instances of a micro service are one queue group by themselves; the error of an endpoint is the client's, whatever its code and body, and its statistics count it.
func TestMicroServiceInstances(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	var handled [2]atomic.Int64
	for n := range handled {
		service, err := micro.AddService(connectBackend(t, b.nc.ConnectedUrl()).nc, micro.Config{Name: "chat", Version: "1.0.0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = service.Stop() })
		rooms := service.AddGroup("phx.event")
		if err := rooms.AddEndpoint("ask", micro.HandlerFunc(func(r micro.Request) {
			handled[n].Add(1)
			switch string(r.Data()) {
			case `"error"`:
				_ = r.Error("500", "out of order", nil)
			case `"headers"`:
				_ = r.Respond([]byte(`{"n":1}`), micro.WithHeaders(micro.Headers{"Phx-Status": {"conflict"}, "Phx-Assigns": {`{"seen":true}`}}))
			case `"assigns"`:
				_ = r.Respond([]byte(r.Headers().Get("Phx-Assigns")))
			default:
				_ = r.Respond(nil)
			}
		}), micro.WithEndpointSubject("ask.room.*")); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "both instances", func() bool {
		msgs := b.listen(nats.NewInbox())
		defer msgs.Unsubscribe()
		if err := b.nc.PublishRequest("$SRV.PING.chat", msgs.Subject, nil); err != nil {
			t.Fatal(err)
		}
		for range handled {
			if _, err := msgs.NextMsg(200 * time.Millisecond); err != nil {
				return false
			}
		}
		return true
	})
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	const rounds = 40
	for range rounds {
		wantJSON(t, "empty answer", c.Call("room:1", "ask", "empty", "ok"), `{}`)
		wantError(t, c, c.Push("room:1", "ask", "error"), "out of order")
		wantJSON(t, "headers", c.Call("room:1", "ask", "headers", "conflict"), `{"n":1}`)
		wantJSON(t, "assigns", c.Call("room:1", "ask", "assigns", "ok"), `{"seen":true}`)
	}
	if a, b := handled[0].Load(), handled[1].Load(); a+b != 4*rounds || a == 0 || b == 0 {
		t.Errorf("the instances handled %d and %d events, want %d together", a, b, 4*rounds)
	}
}
