package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/backendtest"
)

// replies are handlers by event, and what the client of a call and what of a cast sees.
func TestHandlers(t *testing.T) {
	answer := func(r backend.Reply, err error) backend.Handler {
		return func(context.Context, *backend.Event) (backend.Reply, error) { return r, err }
	}
	for _, c := range []struct {
		name       string
		handler    backend.Handler
		call, cast string
	}{
		{"zero", answer(backend.Reply{}, nil), "ok {}", "[]"},
		{"ok", answer(backend.OK(map[string]int{"id": 1}), nil), `ok {"id":1}`, "[]"},
		{"raw", answer(backend.OK(json.RawMessage(`[1.0, 2]`)), nil), `ok [1.0, 2]`, "[]"},
		{"status", answer(backend.Reply{Status: "later", Response: "x"}, nil), `later "x"`, "[]"},
		{"none", answer(backend.NoReply(), nil), "none", "[]"},
		{"close", answer(backend.Reply{Response: 1, Close: true}, nil), "ok 1 close", "[crash C]"},
		{"stop", answer(backend.Reply{Status: backend.StatusNone, Close: true}, nil), "none  close", "[crash C]"},
		{"bytes", answer(backend.OK(backend.Binary("\x00")), nil), "ok \x00", "[]"},
		{"refuse", answer(backend.Reply{}, backend.Refuse{Reason: "no"}), `error {"reason":"no"}`, "[]"},
		{"wrapped", answer(backend.Reply{}, fmt.Errorf("w: %w", backend.Refuse{Response: []int{1}, Status: "busy"})), `busy [1]`, "[]"},
		{"error", answer(backend.Reply{}, errors.New("disk")), "crash", "[crash C]"},
		{"panic", func(context.Context, *backend.Event) (backend.Reply, error) { panic("boom") }, "crash", "[crash C]"},
		{"unencodable", answer(backend.OK(func() {}), nil), "crash", "[]"},
		{"bad raw", answer(backend.OK(json.RawMessage(`{`)), nil), "crash", "[]"},
		{"bad assigns", answer(backend.Reply{Assigns: []int{1}}, nil), "crash", "[crash C]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := backendtest.New(t)
			h.Topic("room:*").Handle("do", c.handler)
			channel := h.Channel("room:1", "", nil)
			if got := channel.Call("do", nil).String(); got != c.call {
				t.Errorf("call: %q, want %q", got, c.call)
			}
			wantPublished(t, h)
			channel.Cast("do", nil)
			wantPublished(t, h, strings.Fields(strings.Trim(strings.ReplaceAll(c.cast, "crash C", "crash_"+channel.ID), "[]"))...)
		})
	}
}

// wantPublished compares what was published with lines, in which the first "_" stands for a space.
func wantPublished(t *testing.T, h *backendtest.Harness, want ...string) {
	t.Helper()
	got := h.Take()
	for i, m := range got {
		if i >= len(want) || m.String() != strings.Replace(want[i], "_", " ", 1) {
			t.Errorf("published %q, want %q", got, want)
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("published %q, want %q", got, want)
	}
}

func TestEvent(t *testing.T) {
	h := backendtest.New(t)
	var got backend.Event
	h.Topic("room:*").Handle("*", func(_ context.Context, e *backend.Event) (backend.Reply, error) {
		got = *e
		var payload struct{ N int }
		if err := e.Decode(&payload); err != nil {
			return backend.Reply{}, err
		}
		var assigns struct{ Name string }
		if err := e.DecodeAssigns(&assigns); err != nil {
			return backend.Reply{}, err
		}
		return backend.Reply{Response: payload.N, Assigns: map[string]string{"name": assigns.Name + "ü"}}, nil
	})
	c := h.Channel("room:żółw a.b", "user socket:é ", map[string]string{"name": "Ann"})
	if got := c.Call("a.b:é", map[string]int{"n": 3}).String(); got != "ok 3" {
		t.Errorf("reply %q", got)
	}
	if got.Topic != c.Topic || got.Name != "a.b:é" || got.Channel != c.ID || got.SocketID != c.SocketID || !got.Call || got.Ref == "" || got.Binary {
		t.Errorf("event %+v", got)
	}
	if string(c.Assigns["name"]) != `"Ann\u00fc"` {
		t.Errorf("assigns %s", c.Assigns)
	}
	if got := c.Call("x", "text").String(); got != `error {"reason":"invalid payload"}` {
		t.Errorf("reply to a payload of another type: %q", got)
	}
	if got := c.Call("x", backend.Binary("{}")).String(); got != `error {"reason":"invalid payload"}` {
		t.Errorf("reply to bytes: %q", got)
	}
}

// The first topic that matches takes an event, its first handler that matches handles it: as Phoenix's channel macro and function clauses.
func TestFirstMatchHolds(t *testing.T) {
	h := backendtest.New(t)
	say := func(word string) backend.Handler {
		return func(context.Context, *backend.Event) (backend.Reply, error) { return backend.OK(word), nil }
	}
	h.Topic("room:vip").Handle("a", say("vip"))
	h.Topic("room:l*").Joined(func(context.Context, *backend.Event) error { return nil }) // handles no events
	h.Topic("room:*").Handle("a", say("exact")).HandleConcurrent("a*", say("prefix"))
	for _, c := range []struct{ topic, event, want string }{
		{"room:vip", "a", "vip"}, {"room:lobby", "a", "exact"}, {"room:lobby", "ab", "prefix"},
	} {
		if got := h.Channel(c.topic, "", nil).Call(c.event, nil).String(); got != `ok "`+c.want+`"` {
			t.Errorf("%s %s: %s, want %s", c.topic, c.event, got, c.want)
		}
	}
}

func TestMembership(t *testing.T) {
	h := backendtest.New(t)
	h.Topic("room:*").Joined(func(ctx context.Context, e *backend.Event) error {
		var params struct{ Fail, Panic bool }
		if err := e.Decode(&params); err != nil {
			return err
		}
		if params.Panic {
			panic("boom")
		}
		if params.Fail {
			return errors.New("disk")
		}
		return h.Push(ctx, e.Channel, "welcome", map[string]string{"id": e.SocketID})
	}).Left(func(ctx context.Context, e *backend.Event, reason string) error {
		return h.Broadcast(ctx, e.Topic, "left", map[string]string{"reason": reason})
	})
	c := h.Channel("room:1", "ann", nil)
	c.Joined(nil)
	wantPublished(t, h, `push_`+c.ID+` welcome {"id":"ann"}`)
	for _, params := range []map[string]bool{{"fail": true}, {"panic": true}} {
		c.Joined(params)
		wantPublished(t, h, "crash_"+c.ID)
	}
	c.Joined([]int{1}) // a Refuse has nobody to be told
	wantPublished(t, h, "crash_"+c.ID)
	c.Left("kicked")
	wantPublished(t, h, `broadcast_room:1 left {"reason":"kicked"}`)
}

func TestRegistrationMistakes(t *testing.T) {
	h := backendtest.New(t)
	for name, register := range map[string]func(){
		"topic": func() { h.Topic("a*b") },
		"event": func() { h.Topic("a").Cast("", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: a bad pattern is taken", name)
				}
			}()
			register()
		}()
	}
}
