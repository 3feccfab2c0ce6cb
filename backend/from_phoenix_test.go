package backend_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/backendtest"
)

// What docs/from-phoenix.md quotes: each function between its braces. The names around them are those of the app that it moves.

type user struct {
	ID    string `json:"user_id"`
	Admin bool   `json:"admin"`
}

type message struct {
	Body string `json:"body"`
}

var errUnknown = errors.New("unknown token")

type accounts struct{}

func (accounts) byToken(_ context.Context, token string) (user, error) {
	if token != "good" {
		return user{}, errUnknown
	}
	return user{ID: "42"}, nil
}

func quoteConnect(b *backend.Backend, accounts accounts) {
	b.AuthorizeConnect(func(ctx context.Context, r *backend.ConnectRequest) (backend.ConnectReply, error) {
		u, err := accounts.byToken(ctx, r.AuthToken)
		if errors.Is(err, errUnknown) {
			return backend.ConnectReply{}, backend.Refuse{Reason: "unknown token"} // :error
		}
		return backend.ConnectReply{ID: "user_socket:" + u.ID, Assigns: u}, err
	})
}

func quoteJoin(room *backend.Topic) {
	room.AuthorizeJoin(func(ctx context.Context, r *backend.JoinRequest) (backend.JoinReply, error) {
		var u user
		if err := r.DecodeAssigns(&u); err != nil {
			return backend.JoinReply{}, err
		}
		if r.Topic == "room:private" && !u.Admin {
			return backend.JoinReply{}, backend.Refuse{Reason: "unauthorized"}
		}
		return backend.JoinReply{
			Response: map[string]any{"admin": u.Admin},
			Assigns:  map[string]any{"joined_at": time.Now().Unix()},
			Presence: &backend.Presence{Key: u.ID, Meta: map[string]any{"status": "online"}},
		}, nil
	})
}

func quoteAfterJoin(b *backend.Backend, room *backend.Topic, last func(topic string) []message) {
	room.Joined(func(ctx context.Context, e *backend.Event) error {
		return b.Push(ctx, e.Channel, "history", map[string]any{"messages": last(e.Topic)})
	})
}

func quoteHandleIn(b *backend.Backend, room *backend.Topic) {
	room.Handle("new_msg", func(ctx context.Context, e *backend.Event) (backend.Reply, error) {
		var m message
		if err := e.Decode(&m); err != nil {
			return backend.Reply{}, err
		}
		if m.Body == "" {
			return backend.Reply{}, backend.Refuse{Reason: "empty"} // {:reply, {:error, %{reason: "empty"}}, socket}
		}
		if err := b.Broadcast(ctx, e.Topic, "new_msg", m); err != nil {
			return backend.Reply{}, err
		}
		return backend.Reply{Assigns: map[string]any{"last": m.Body}}, nil // {:reply, :ok, assign(socket, :last, body)}
	})
	room.Cast("seen", func(ctx context.Context, e *backend.Event) error { return nil }) // {:noreply, socket}
	room.Handle("quit", func(ctx context.Context, e *backend.Event) (backend.Reply, error) {
		return backend.Reply{Response: map[string]any{"bye": true}, Close: true}, nil // {:stop, :normal, {:ok, %{bye: true}}, socket}
	})
}

func quoteLateReply(b *backend.Backend, room *backend.Topic, work func(context.Context, []byte) any) {
	room.Handle("work", func(ctx context.Context, e *backend.Event) (backend.Reply, error) {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			_ = b.Reply(ctx, e.Channel, e.Ref, backend.StatusOK, work(ctx, e.Payload))
		}()
		return backend.NoReply(), nil
	})
}

func quoteSend(ctx context.Context, b *backend.Backend, e *backend.Event, payload any) error {
	return errors.Join(
		b.Push(ctx, e.Channel, "notice", payload),
		b.Broadcast(ctx, e.Topic, "notice", payload),
		b.Broadcast(ctx, e.Topic, "typing", payload, backend.From(e.Channel)),
		b.Broadcast(ctx, e.Topic, "frame", backend.Binary{1, 2, 3}), // {:binary, <<1, 2, 3>>}
	)
}

func quoteLeft(b *backend.Backend, room *backend.Topic, forget func(channel string), forgetGateway func(id string)) {
	room.Left(func(ctx context.Context, e *backend.Event, reason string) error { // "left", "disconnected", "crashed", …
		forget(e.Channel)
		return nil
	})
	b.GatewayLost(func(ctx context.Context, gateway string) error { // of whose channels nothing more is said
		forgetGateway(gateway)
		return nil
	})
}

func quotePresence(ctx context.Context, b *backend.Backend, e *backend.Event) error {
	return errors.Join(
		b.Track(ctx, e.Topic, e.Channel, "42", map[string]any{"status": "online"}),
		b.Update(ctx, e.Topic, e.Channel, "42", map[string]any{"status": "away"}),
	)
}

func quotePresences(ctx context.Context, b *backend.Backend) (map[string]backend.Present, error) {
	all, err := b.Presences(ctx, "room:lobby") // all["42"].Metas
	return all, err
}

func quoteTest(t *testing.T, register func(*backend.Backend)) {
	h := backendtest.New(t)
	register(h.Backend)
	ann := h.Channel("room:lobby", "user_socket:42", map[string]any{"user_id": "42"})
	reply := ann.Call("new_msg", map[string]any{"body": "hi"})
	if got := reply.String(); got != `ok {}` {
		t.Errorf("reply %s", got)
	}
	if sent := h.Take(); len(sent) != 1 || sent[0].String() != `broadcast room:lobby new_msg {"body":"hi"}` {
		t.Errorf("sent %v", sent)
	}
}

// The handlers of the page do what it says.
func TestFromPhoenix(t *testing.T) {
	quoteTest(t, func(b *backend.Backend) {
		room := b.Topic("room:*")
		quoteConnect(b, accounts{})
		quoteJoin(room)
		quoteAfterJoin(b, room, func(string) []message { return nil })
		quoteHandleIn(b, room)
		quoteLateReply(b, room, func(context.Context, []byte) any { return nil })
		quoteLeft(b, room, func(string) {}, func(string) {})
	})
	h := backendtest.New(t)
	quoteHandleIn(h.Backend, h.Backend.Topic("room:*").Handle("send", func(ctx context.Context, e *backend.Event) (backend.Reply, error) {
		return backend.NoReply(), errors.Join(quoteSend(ctx, h.Backend, e, map[string]any{}), quotePresence(ctx, h.Backend, e))
	}))
	ann := h.Channel("room:lobby", "user_socket:42", nil)
	ann.Call("send", map[string]any{})
	if sent := h.Take(); len(sent) != 4 {
		t.Errorf("sent %v", sent)
	}
	if all, err := quotePresences(t.Context(), h.Backend); err != nil || len(all["42"].Metas) != 1 {
		t.Errorf("present %v, %v", all, err)
	}
	for event, want := range map[string]string{"new_msg": `error {"reason":"empty"}`, "quit": `ok {"bye":true}`} {
		if got := ann.Call(event, map[string]any{}).String(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", event, got, want)
		}
	}
}

// Every Go block of the page stands in this file, so that it compiles.
func TestFromPhoenixQuotes(t *testing.T) {
	page, err := os.ReadFile("../docs/from-phoenix.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("from_phoenix_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 8 {
		t.Errorf("%d blocks of Go, want 8 or more", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(flat(string(source)), flat(block[1])) {
			t.Errorf("not in from_phoenix_test.go:\n%s", block[1])
		}
	}
}

// flat is text without the indentation of its lines, and the commas at their ends.
func flat(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSuffix(strings.TrimSpace(line), ","))
	}
	return strings.Join(lines, "\n")
}
