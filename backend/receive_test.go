package backend

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
)

// What no gateway sends is refused, whatever it says.
func TestReceiveIsStrict(t *testing.T) {
	b, err := New(new(fakeConn), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Topic("*").Cast("*", func(context.Context, *Event) error { return nil }).Left(func(context.Context, *Event, string) error { return nil })
	for _, c := range []struct {
		subject string
		headers []string
		body    string
		good    bool
	}{
		{"phx.event.x.room", nil, "", true},
		{"phx.event.x.room", []string{"Phx-Channel", "g.s.1", "Phx-Socket-Id", "a=20"}, "", true},
		{"phx.left.room", nil, `{"reason":"left"}`, true},
		{"other.event.x.room", nil, "", false},
		{"phx.event.x", nil, "", false},
		{"phx.event.=41.room", nil, "", false},
		{"phx.event.x.room.=2e", nil, "", false},
		{"phx.event.x.room", []string{"Phx-Channel", "g.s"}, "", false},
		{"phx.event.x.room", []string{"Phx-Socket-Id", "a=2"}, "", false},
		{"phx.left.room", nil, ``, false},
		{"phx.authz.join", nil, `{}`, false}, // nobody to answer to
		{"phx.other", nil, ``, false},
	} {
		msg := &nats.Msg{Subject: c.subject, Data: []byte(c.body)}
		for i := 0; i < len(c.headers); i += 2 {
			setHeader(msg, c.headers[i], c.headers[i+1])
		}
		if ok, err := b.Deliver(context.Background(), msg); ok != c.good || (err == nil) != c.good {
			t.Errorf("%s %v %s: taken %v, %v", c.subject, c.headers, c.body, ok, err)
		}
	}
}
