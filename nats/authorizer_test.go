package nats

import (
	"encoding/json"
	"reflect"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestAuthorizeJoinPresence: what a join reply says of presence reaches the gateway.
func TestAuthorizeJoinPresence(t *testing.T) {
	url := phxtest.StartNATS(t)
	b, _ := startBus(t, url)
	nc := backend(t, url)
	if _, err := nc.Subscribe("phx.authz.join", func(m *natsgo.Msg) { // says what the params are
		var r struct{ Params json.RawMessage }
		_ = json.Unmarshal(m.Data, &r)
		_ = m.Respond(r.Params)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		d   *gateway.JoinDecision
		err error
	}
	for _, tc := range []struct {
		reply string
		want  *gateway.JoinPresence
	}{
		{`{"status":"ok"}`, nil},
		{`{"status":"ok","presence":null}`, nil},
		{`{"status":"ok","presence":{}}`, &gateway.JoinPresence{}},
		{`{"status":"ok","presence":{"meta":{"x":1}}}`, &gateway.JoinPresence{Meta: []byte(`{"x":1}`)}},
		{`{"status":"ok","presence":{"key":""}}`, &gateway.JoinPresence{Tracked: true}},
		{`{"status":"ok","presence":{"key":42,"meta":{"name":"Ann"}}}`, &gateway.JoinPresence{Tracked: true, Key: "42", Meta: []byte(`{"name":"Ann"}`)}},
	} {
		answers := make(chan answer, 1)
		NewAuthorizer(b, phxtest.Patience()).AuthorizeJoins([]gateway.JoinAsk{{
			JoinRequest: &gateway.JoinRequest{Topic: "room:a", Params: []byte(tc.reply), Channel: "g1.a.b"},
			Done:        func(d *gateway.JoinDecision, err error) { answers <- answer{d, err} },
		}})
		got := within(t, "decision", answers)
		if got.err != nil || !got.d.OK || !reflect.DeepEqual(got.d.Presence, tc.want) {
			t.Errorf("%s: %+v, %v; want %+v", tc.reply, got.d, got.err, tc.want)
		}
	}
}
