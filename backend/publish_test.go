package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
)

// wire is a backend.Conn that keeps what is published as the subject, the headers by name, and the body.
type wire struct {
	backend.Conn
	published []string
}

func (w *wire) PublishMsg(msg *nats.Msg) error {
	words := []string{msg.Subject}
	for _, name := range slices.Sorted(maps.Keys(msg.Header)) {
		words = append(words, name+":"+strings.Join(msg.Header[name], ","))
	}
	w.published = append(w.published, strings.Join(append(words, string(msg.Data)), " | "))
	return nil
}

func TestPublish(t *testing.T) {
	w := new(wire)
	b, err := backend.New(w, backend.Options{Prefix: "a.b"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	traced := backend.WithTrace(ctx, backend.Trace{Parent: "00-1-2-01", State: "x=1"})
	for _, c := range []struct {
		publish func() error
		want    string
	}{
		{func() error { return b.Broadcast(ctx, "doc:a.b", "new msg", map[string]int{"n": 1}) }, `topic.doc.a=2Eb | Phx-Event:new msg | {"n":1}`},
		{func() error { return b.Broadcast(ctx, "room:", "é", nil, backend.From("g.s.1")) }, `topic.room.= | Phx-Event:=C3=A9 | Phx-From:g.s.1 | {}`},
		{func() error { return b.Broadcast(ctx, "room:1", "e", backend.Binary{0}, backend.From("")) }, "topic.room.1 | Phx-Encoding:binary | Phx-Event:e | \x00"},
		{func() error { return b.Push(traced, "g.s.1", "e", json.RawMessage(" {}")) }, "channel.g.s.1 | Phx-Event:e | traceparent:00-1-2-01 | tracestate:x=1 |  {}"},
		{func() error { return b.Reply(ctx, "g.s.1", "5", "", []int{1}) }, "channel.g.s.1 | Phx-Ref:5 | Phx-Status:ok | [1]"},
		{func() error { return b.Reply(ctx, "g.s.1", "5", "error", backend.Binary("x")) }, "channel.g.s.1 | Phx-Encoding:binary | Phx-Ref:5 | Phx-Status:error | x"},
		{func() error { return b.CloseChannel(ctx, "g.s.1") }, "channel.g.s.1 | Phx-Action:close | "},
		{func() error { return b.CrashChannel(ctx, "g.s.1") }, "channel.g.s.1 | Phx-Action:crash | "},
		{func() error { return b.Disconnect(ctx, "user_socket:42") }, "socket.user_socket=3A42 | Phx-Action:disconnect | "},
		{func() error { return b.Leave(ctx, "ann é", "room:é") }, "socket.ann=20=C3=A9 | Phx-Action:leave | Phx-Topic:room:=C3=A9 | "},
		{func() error { return b.RecheckTopic(ctx, "room:é") }, "authz.recheck.topic.room.=C3=A9 | "},
		{func() error { return b.RecheckSocket(ctx, "user:42") }, "authz.recheck.socket.user=3A42 | "},
	} {
		w.published = nil
		if err := c.publish(); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
		if want := []string{"a.b." + c.want}; !slices.Equal(w.published, want) {
			t.Errorf("published %q, want %q", w.published, want)
		}
	}
	w.published = nil
	for _, err := range []struct {
		got, want error
	}{
		{b.Broadcast(ctx, "", "e", nil), backend.ErrInvalidTopic},
		{b.Broadcast(ctx, strings.Repeat("a:", 16), "e", nil), backend.ErrInvalidTopic},
		{b.Broadcast(ctx, "a", "", nil), backend.ErrInvalidEvent},
		{b.Broadcast(ctx, "a", "phx_close", nil), backend.ErrInvalidEvent},
		{b.Broadcast(ctx, "a", strings.Repeat("e", 256), nil), backend.ErrInvalidEvent},
		{b.Broadcast(ctx, "a", "e", []int{1}), backend.ErrInvalidPayload},
		{b.Broadcast(ctx, "a", "e", json.RawMessage("{\"a\":\"\xff\"}")), backend.ErrInvalidPayload},
		{b.Broadcast(ctx, "a", "e", func() {}), backend.ErrInvalidPayload},
		{b.Broadcast(ctx, "a", "e", nil, backend.From("a.*.c")), backend.ErrInvalidChannel},
		{b.Push(ctx, "a.b", "e", nil), backend.ErrInvalidChannel},
		{b.Push(ctx, "a.b.c", "phx_x", nil), backend.ErrInvalidEvent},
		{b.Reply(ctx, "a.b.>", "1", "", nil), backend.ErrInvalidChannel},
		{b.Reply(ctx, "a.b.c", "", "", nil), backend.ErrInvalidRef},
		{b.CloseChannel(ctx, ""), backend.ErrInvalidChannel},
		{b.Disconnect(ctx, ""), backend.ErrInvalidSocket},
		{b.Leave(ctx, "", "a"), backend.ErrInvalidSocket},
		{b.Leave(ctx, "a", ""), backend.ErrInvalidTopic},
		{b.RecheckTopic(ctx, ""), backend.ErrInvalidTopic},
		{b.RecheckSocket(ctx, ""), backend.ErrInvalidSocket},
	} {
		if !errors.Is(err.got, err.want) {
			t.Errorf("%v, want %v", err.got, err.want)
		}
	}
	if len(w.published) > 0 {
		t.Errorf("%q was published", w.published)
	}
}
