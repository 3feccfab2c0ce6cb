package hostile

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
	"github.com/phxgate/phxgate/nats"
)

// recorder sees every message of a NATS server and notes those that no client may cause. It is the backend too, since its subscription makes NATS believe that
// there is one: it answers every call with {}.
type recorder struct {
	nc       *natsgo.Conn
	subjects nats.Subjects

	mu     sync.Mutex // guards what follows
	wrong  []string
	topics map[string]bool // of all messages with a topic
	joined map[string]int  // phx.joined by channel id
	left   map[string]int
}

// contractHeaders are the headers there are (docs/contract.md, "Headers") on what a client can cause.
var contractHeaders = map[string]bool{
	"Phx-Event": true, "Phx-Topic": true, "Phx-Socket-Id": true, "Phx-Channel": true, "Phx-From": true, "Phx-Join-Ref": true, "Phx-Ref": true,
	"Phx-Assigns": true, "Phx-Encoding": true, "traceparent": true, "tracestate": true,
}

func record(t testing.TB, url string) *recorder {
	t.Helper()
	rec := &recorder{topics: map[string]bool{}, joined: map[string]int{}, left: map[string]int{}}
	var err error
	if rec.subjects, err = nats.NewSubjects("phx"); err != nil {
		t.Fatal(err)
	}
	if rec.nc, err = natsgo.Connect(url, natsgo.Timeout(phxtest.Patience())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.nc.Close)
	sub, err := rec.nc.Subscribe(">", rec.message)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = rec.nc.FlushTimeout(phxtest.Patience())
	}
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return rec
}

func (rec *recorder) message(m *natsgo.Msg) {
	what := rec.look(m)
	if strings.HasPrefix(m.Subject, "phx.event.") && m.Reply != "" && what == "" {
		if err := m.Respond([]byte("{}")); err != nil {
			what = err.Error()
		}
	}
	if what != "" {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		if len(rec.wrong) < 20 {
			rec.wrong = append(rec.wrong, fmt.Sprintf("%q: %s", m.Subject, what))
		}
	}
}

// look says what is wrong with a message; "" if nothing is. A client may cause messages on four kinds of subject (docs/contract.md, "Subjects at a glance"), and floods that are told on
// phx.dropped; a gateway probes and gets its answers under phx.fleet, and registers itself for presence.
func (rec *recorder) look(m *natsgo.Msg) string {
	for _, own := range []string{"phx.fleet.", "phx.presence.", "$KV.phx_presence.g", "_INBOX.", "$SYS.", "$JS.", "phx.dropped"} {
		if strings.HasPrefix(m.Subject, own) {
			return ""
		}
	}
	if len(m.Subject) > 2000 {
		return fmt.Sprintf("%d bytes", len(m.Subject))
	}
	for name, values := range m.Header {
		if !contractHeaders[name] || len(values) != 1 {
			return fmt.Sprintf("header %q %q", name, values)
		}
		if value := values[0]; strings.HasSuffix(name, "Ref") && (len(value) > 64 || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' })) {
			return fmt.Sprintf("header %s %q", name, value)
		}
	}
	kind, tokens, _ := strings.Cut(strings.TrimPrefix(m.Subject, "phx."), ".")
	if !strings.HasPrefix(m.Subject, "phx.") || kind != "topic" && kind != "event" && kind != "joined" && kind != "left" {
		return "a foreign subject"
	}
	if kind == "event" {
		var event string
		event, tokens, _ = strings.Cut(tokens, ".")
		name, err := nats.DecodeToken(event)
		if header, bad := nats.DecodeHeader(m.Header.Get("Phx-Event")); err != nil || bad != nil || header != name || len(name) > 255 {
			return fmt.Sprintf("event %q (%v), header %q (%v)", name, err, header, bad)
		}
	}
	topic, err := nats.DecodeTopic(tokens)
	if err != nil || !nats.ValidTopic(topic) {
		return fmt.Sprintf("topic %q, %v", topic, err)
	}
	if kind != "topic" {
		if header, err := nats.DecodeHeader(m.Header.Get("Phx-Topic")); err != nil || header != topic {
			return fmt.Sprintf("header Phx-Topic %q (%v)", header, err)
		}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.topics[topic] = true
	switch channel := m.Header.Get("Phx-Channel"); kind {
	case "joined":
		rec.joined[channel]++
	case "left":
		rec.left[channel]++
	}
	return ""
}

// balanced reports whether every channel that was joined is told to have ended.
func (rec *recorder) balanced() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for channel := range rec.joined {
		if rec.left[channel] == 0 {
			return false
		}
	}
	return len(rec.joined) > 0
}

// check fails the test for what was noted. Messages that were sent before have been seen by then.
func (rec *recorder) check(t testing.TB) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, what := range rec.wrong {
		t.Errorf("on NATS: %s", what)
	}
	for channel, n := range rec.left {
		if n != 1 || rec.joined[channel] != 1 {
			t.Errorf("channel %s: %d phx.joined, %d phx.left", channel, rec.joined[channel], n)
		}
	}
}

// saw reports whether a message named the topic.
func (rec *recorder) saw(topic string) bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.topics[topic]
}
