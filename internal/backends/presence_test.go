package backends

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
)

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
