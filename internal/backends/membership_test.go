package backends

import (
	"context"
	"fmt"
	"testing"

	"github.com/phxgate/phxgate/backend"
)

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
