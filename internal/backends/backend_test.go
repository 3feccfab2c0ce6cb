package backends

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// letIn allows every connect under the param name, and every join.
func letIn(b *backend.Backend) {
	b.AuthorizeConnect(func(_ context.Context, r *backend.ConnectRequest) (backend.ConnectReply, error) {
		var params struct{ Name string }
		if err := r.Decode(&params); err != nil {
			return backend.ConnectReply{}, err
		}
		if params.Name == "" {
			return backend.ConnectReply{}, backend.Refuse{Reason: "no name"}
		}
		return backend.ConnectReply{ID: "user:" + params.Name, Assigns: map[string]string{"name": params.Name}}, nil
	})
	b.Topic("room:*").AuthorizeJoin(func(_ context.Context, r *backend.JoinRequest) (backend.JoinReply, error) {
		var params struct{ Deny, Fail bool }
		if err := r.Decode(&params); err != nil {
			return backend.JoinReply{}, err
		}
		switch {
		case params.Deny:
			return backend.JoinReply{}, backend.Refuse{Reason: "unauthorized"}
		case params.Fail:
			return backend.JoinReply{}, errors.New("disk")
		}
		return backend.JoinReply{Response: map[string]string{"topic": r.Topic}}, nil
	})
}

func TestAuthorization(t *testing.T) {
	a := start(t)
	a.serve(backend.Options{}, letIn)
	phxtest.WantRefused(t, a.socketURL(), 403)
	c := a.dial(t, "name=ann")
	if got := c.Join("room:é", struct{}{}); string(got) != `{"topic":"room:é"}` {
		t.Errorf("response %s", got)
	}
	c.WantReply(c.StartJoin("room:2", map[string]bool{"deny": true}), "error")
	if got := c.WantReply(c.StartJoin("room:3", map[string]bool{"fail": true}), "error"); string(got.Payload) != `{"reason":"authorization unavailable"}` {
		t.Errorf("response %s", got.Payload)
	}
}

// Everything a handler can say, as a client sees it.
func TestHandlers(t *testing.T) {
	a := start(t)
	late := make(chan *backend.Event, 1)
	var b *backend.Backend
	a.serve(backend.Options{}, func(served *backend.Backend) {
		b = served
		letIn(b)
		b.Topic("room:*").
			Handle("echo", func(_ context.Context, e *backend.Event) (backend.Reply, error) {
				if e.Binary {
					return backend.OK(backend.Binary(e.Payload)), nil
				}
				return backend.OK(json.RawMessage(e.Payload)), nil
			}).
			Handle("refuse", func(context.Context, *backend.Event) (backend.Reply, error) {
				return backend.Reply{}, backend.Refuse{Reason: "no"}
			}).
			Handle("shout", func(ctx context.Context, e *backend.Event) (backend.Reply, error) {
				return backend.Reply{}, errors.Join(b.Broadcast(ctx, e.Topic, "shouted é", map[string]int{"n": 1}),
					b.Broadcast(ctx, e.Topic, "others", nil, backend.From(e.Channel)), b.Push(ctx, e.Channel, "pushed", map[string]int{"n": 2}))
			}).
			Handle("name", func(_ context.Context, e *backend.Event) (backend.Reply, error) {
				var assigns struct{ Name string }
				err := e.DecodeAssigns(&assigns)
				return backend.Reply{Response: assigns.Name + " of " + e.SocketID, Assigns: map[string]string{"name": assigns.Name + "ü"}}, err
			}).
			Handle("later", func(_ context.Context, e *backend.Event) (backend.Reply, error) {
				late <- e
				return backend.NoReply(), nil
			}).
			Handle("stop", func(context.Context, *backend.Event) (backend.Reply, error) {
				return backend.Reply{Response: 1, Close: true}, nil
			}).
			Handle("panic", func(context.Context, *backend.Event) (backend.Reply, error) { panic("boom") }).
			Cast("cast", func(context.Context, *backend.Event) error { panic("boom") })
	})
	const topic = "room:é 1"
	c := a.dial(t, "name=ann")
	c.Join(topic, struct{}{})
	d := a.dial(t, "name=bob")
	d.Join(topic, struct{}{})
	call := func(event, status, want string) {
		t.Helper()
		if got := c.Call(topic, event, json.RawMessage(`{"a":1.0}`), status); string(got) != want {
			t.Errorf("%s: %s, want %s", event, got, want)
		}
	}
	call("echo", "ok", `{"a":1.0}`)
	call("refuse", "error", `{"reason":"no"}`)
	call("name", "ok", `"ann of user:ann"`)
	call("name", "ok", `"annü of user:ann"`)
	call("unheard_of", "error", `{"reason":"no backend"}`)

	ref := c.Push(topic, "shout", struct{}{})
	c.WantEvent(topic, "shouted é", `{"n":1}`) // broadcast, push and reply in the order of the calls
	c.WantEvent(topic, "pushed", `{"n":2}`)
	c.WantReply(ref, "ok")
	d.WantEvent(topic, "shouted é", `{"n":1}`)
	d.WantEvent(topic, "others", `{}`)

	ref = c.Push(topic, "later", struct{}{})
	e := <-late
	call("echo", "ok", `{"a":1.0}`) // meanwhile
	if err := b.Reply(context.Background(), e.Channel, e.Ref, "error", []int{1}); err != nil {
		t.Fatal(err)
	}
	if got := c.WantReply(ref, "error"); string(got.Payload) != "[1]" {
		t.Errorf("late reply %s", got.Payload)
	}

	for _, event := range []string{"panic", "cast"} {
		c.Push(topic, event, struct{}{})
		c.WantEvent(topic, "phx_error", `{"reason":"channel_crash"}`)
		c.Join(topic, struct{}{})
	}
	call("stop", "ok", "1")
	c.WantEvent(topic, "phx_close", `{}`)
}

// Joined comes before the first event, Left behind the last; each says what happened.
func TestMembership(t *testing.T) {
	a := start(t)
	seen := make(chan string, 64)
	var b *backend.Backend
	a.serve(backend.Options{}, func(served *backend.Backend) {
		b = served
		letIn(b)
		b.Topic("room:*").
			Joined(func(ctx context.Context, e *backend.Event) error {
				seen <- "joined " + e.SocketID + " " + string(e.Payload)
				return b.Push(ctx, e.Channel, "welcome", nil)
			}).
			Cast("cast", func(_ context.Context, e *backend.Event) error {
				seen <- "cast " + string(e.Payload)
				return nil
			}).
			Left(func(_ context.Context, e *backend.Event, reason string) error {
				seen <- "left " + e.SocketID + " " + reason
				return nil
			})
	})
	want := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			if got := <-seen; got != line {
				t.Errorf("seen %q, want %q", got, line)
			}
		}
	}
	ctx := context.Background()
	c := a.dial(t, "name=ann")
	c.Join("room:1", map[string]int{"a": 1})
	c.WantEvent("room:1", "welcome", `{}`)
	for n := range 20 {
		c.Push("room:1", "cast", n)
	}
	c.Leave("room:1")
	want(`joined user:ann {"a":1}`)
	for n := range 20 {
		want(fmt.Sprint("cast ", n))
	}
	want("left user:ann left")
	c.Join("room:1", struct{}{})
	c.WantEvent("room:1", "welcome", `{}`)
	if err := b.Leave(ctx, "user:ann", "room:1"); err != nil {
		t.Fatal(err)
	}
	c.WantEvent("room:1", "phx_close", `{}`)
	c.Join("room:1", struct{}{})
	c.WantEvent("room:1", "welcome", `{}`)
	if err := b.Disconnect(ctx, "user:ann"); err != nil {
		t.Fatal(err)
	}
	want("joined user:ann {}", "left user:ann kicked", "joined user:ann {}", "left user:ann disconnected")
}

// Where patterns overlap an event is handled once, by the first; backends of one queue share; a neighbour's events are left alone.
func TestOverlaps(t *testing.T) {
	a := start(t, "CONNECT_AUTH=allow")
	say := func(word string, count *atomic.Int64) backend.Handler {
		return func(context.Context, *backend.Event) (backend.Reply, error) {
			count.Add(1)
			return backend.OK(word), nil
		}
	}
	var vip, all, other atomic.Int64
	register := func(b *backend.Backend) {
		b.Topic("open:vip*").Handle("a", say("vip", &vip))
		b.Topic("open:*").Handle("a", say("a", &all)).Handle("a*", say("a*", &all))
	}
	a.serve(backend.Options{}, register)
	a.serve(backend.Options{}, register)
	a.serve(backend.Options{Queue: "other"}, func(b *backend.Backend) {
		b.Topic("open:x*").Handle("b", say("b", &other)).Handle("z*", say("z", &other))
	})
	c := a.dial(t, "")
	for _, topic := range []string{"open:vip1", "open:lobby", "open:x"} {
		c.Join(topic, struct{}{})
	}
	const rounds = 50
	for range rounds {
		for _, step := range []struct{ topic, event, want string }{
			{"open:vip1", "a", `"vip"`}, {"open:lobby", "a", `"a"`}, {"open:lobby", "ab", `"a*"`}, {"open:x", "b", `"b"`}, {"open:x", "zoo", `"z"`},
		} {
			if got := c.Call(step.topic, step.event, struct{}{}, "ok"); string(got) != step.want {
				t.Fatalf("%s %s: %s, want %s", step.topic, step.event, got, step.want)
			}
		}
	}
	if vip.Load() != rounds || all.Load() != 2*rounds || other.Load() != 2*rounds {
		t.Errorf("handled %d, %d and %d times", vip.Load(), all.Load(), other.Load())
	}
}

// What has come is answered when Serve ends, and nothing after that comes.
func TestDrain(t *testing.T) {
	a := start(t, "CONNECT_AUTH=allow")
	release := make(chan struct{})
	var begun sync.WaitGroup
	begun.Add(3)
	stop := a.serve(backend.Options{}, func(b *backend.Backend) {
		b.Topic("open:*").HandleConcurrent("wait", func(context.Context, *backend.Event) (backend.Reply, error) {
			begun.Done()
			<-release
			return backend.Reply{}, nil
		})
	})
	var clients []*phxtest.Client
	var refs []string
	for i := range 3 {
		c := a.dial(t, "")
		topic := fmt.Sprint("open:", i)
		c.Join(topic, struct{}{})
		refs = append(refs, c.Push(topic, "wait", struct{}{}))
		clients = append(clients, c)
	}
	begun.Wait()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	waitFor(t, "the end of the subscription", func() bool {
		_, err := a.nc.Request("phx.event.wait.open.probe", []byte("{}"), phxtest.Patience())
		return errors.Is(err, nats.ErrNoResponders)
	})
	close(release)
	<-stopped
	for i, c := range clients {
		c.WantReply(refs[i], "ok")
	}
	if got := clients[0].Call("open:0", "wait", struct{}{}, "error"); !strings.Contains(string(got), "no backend") {
		t.Errorf("after the drain: %s", got)
	}
}

// The presence requests over NATS. The answers are made here: what they mean is the presence service's part.
func TestPresence(t *testing.T) {
	a := start(t, "CONNECT_AUTH=allow")
	b, err := backend.New(a.nc, backend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := b.Presences(ctx, "room:é"); !errors.Is(err, backend.ErrNoService) {
		t.Errorf("without a service: %v", err)
	}
	asked := make(chan string, 4)
	for subject, answer := range map[string]string{
		"phx.presence.list.room.=C3=A9": `{"presences":{"a":{"metas":[{"phx_ref":"1"}]}},"next":null}`, "phx.presence.update.room.=C3=A9": `{"status":"error","reason":"unknown channel"}`,
	} {
		if _, err := a.nc.Subscribe(subject, func(msg *nats.Msg) {
			asked <- string(msg.Data)
			_ = msg.Respond([]byte(answer)) // the test misses it
		}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := b.Presences(ctx, "room:é"); err != nil || len(all["a"].Metas) != 1 {
		t.Errorf("presences %v, %v", all, err)
	}
	var refused *backend.PresenceError
	if err := b.Update(ctx, "room:é", "g.s.1", "", map[string]int{"a": 1}); !errors.As(err, &refused) || refused.Reason != "unknown channel" {
		t.Errorf("update: %v", err)
	}
	for _, want := range []string{`{"limit":200}`, `{"channel":"g.s.1","meta":{"a":1},"op":"update"}`} {
		if got := <-asked; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
}
