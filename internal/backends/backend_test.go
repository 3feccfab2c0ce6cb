package backends

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

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
