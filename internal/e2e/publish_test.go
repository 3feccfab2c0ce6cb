package e2e

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// dialNATS connects to a NATS server until the test ends.
func dialNATS(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.Name("e2e"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// form is one of the two forms of a broadcast (docs/contract.md, "Broadcast").
type form bool

const (
	inHeader   form = false // the event in the header Phx-Event, the payload as body
	inEnvelope form = true  // both in the body
)

// publish publishes an event on a topic, without waiting for the NATS server.
func publish(t *testing.T, nc *nats.Conn, topic, event string, payload any, f form) {
	t.Helper()
	msg := nats.NewMsg("phx.topic." + phxtest.TopicTokens(topic))
	body := payload
	if f == inEnvelope {
		body = map[string]any{"event": event, "payload": payload}
	} else {
		msg.Header.Set("Phx-Event", phxtest.HeaderValue(event))
	}
	var err error
	if msg.Data, err = json.Marshal(body); err == nil {
		err = nc.PublishMsg(msg)
	}
	if err != nil {
		t.Errorf("publish %s on %s: %v", event, topic, err)
	}
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Errorf("flush: %v", err)
	}
}
