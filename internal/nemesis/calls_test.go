package nemesis

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// calls is an authz service that lets everybody in, under the name that is its token, and tracks nobody or all; and the times at which it was asked. Those are the NATS server's, which
// keeps what passes in a stream: this process has a crowd to run, and is late.
type calls struct {
	t      *testing.T
	tracks bool
	asked  jetstream.Stream
	taken  uint64 // the last message that was looked at
}

const (
	connectSubject = "phx.authz.connect"
	joinSubject    = "phx.authz.join"
)

func startCalls(t *testing.T, url string, tracks bool) *calls {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(phxtest.Patience()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c := &calls{t: t, tracks: tracks}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if c.asked, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "ASKED", Subjects: []string{connectSubject, joinSubject}, Storage: jetstream.MemoryStorage,
		NoAck: true, // else it would answer too
	}); err != nil {
		t.Fatal(err)
	}
	for subject, answer := range map[string]func([]byte) any{connectSubject: c.connect, joinSubject: c.join} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
			body, err := json.Marshal(answer(m.Data))
			if err == nil {
				err = m.Respond(body)
			}
			if err != nil {
				t.Errorf("%s: %v", subject, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *calls) connect(body []byte) any {
	var r struct {
		AuthToken string `json:"auth_token"`
	}
	if json.Unmarshal(body, &r) != nil || r.AuthToken == "" {
		return map[string]any{"allow": true}
	}
	return map[string]any{"allow": true, "id": "user:" + r.AuthToken, "assigns": map[string]any{"user": r.AuthToken}}
}

func (c *calls) join(body []byte) any {
	if !c.tracks {
		return map[string]any{"status": "ok"}
	}
	var r struct {
		Socket struct{ Assigns struct{ User string } }
	}
	_ = json.Unmarshal(body, &r) // without a user, the key is empty
	return map[string]any{"status": "ok", "presence": map[string]any{"key": r.Socket.Assigns.User, "meta": map[string]any{}}}
}

// take returns the times of connects and joins since the last call.
func (c *calls) take() (connects, joins []time.Time) {
	c.t.Helper()
	info, err := c.asked.Info(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	last := info.State.LastSeq
	if last == c.taken {
		return nil, nil
	}
	reader, err := c.asked.OrderedConsumer(c.t.Context(), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: c.taken + 1})
	if err != nil {
		c.t.Fatal(err)
	}
	messages, err := reader.Messages()
	if err != nil {
		c.t.Fatal(err)
	}
	defer messages.Stop()
	for c.taken < last {
		m, err := messages.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			c.t.Fatal(err)
		}
		c.taken = meta.Sequence.Stream
		if m.Subject() == connectSubject {
			connects = append(connects, meta.Timestamp)
		} else {
			joins = append(joins, meta.Timestamp)
		}
	}
	return connects, joins
}

// most is how many of some times, the earliest first, are within any time so long, as a number a second.
func most(at []time.Time, window time.Duration) float64 {
	n, from := 0, 0
	for i := range at {
		for at[i].Sub(at[from]) >= window {
			from++
		}
		n = max(n, i-from+1)
	}
	return float64(n) / window.Seconds()
}

// span is the time between the first and the last.
func span(at []time.Time) time.Duration {
	if len(at) == 0 {
		return 0
	}
	return at[len(at)-1].Sub(at[0])
}
