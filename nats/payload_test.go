package nats

import (
	"fmt"
	"sort"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestMaxPayload finds the largest payload that each kind of message takes: it must be exactly what the server takes, headers included, since one byte more
// would cost the whole connection.
func TestMaxPayload(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	nc := backend(t, url)
	limit := int(nc.MaxPayload())
	for name, send := range map[string]func(*gateway.Event) error{
		"broadcast": b.Broadcast,
		"binary":    func(e *gateway.Event) error { c := *e; c.Binary = true; return b.Broadcast(&c) },
		"cast":      b.Cast,
		"call":      func(e *gateway.Event) error { return b.Call(e, time.Minute, func(*gateway.Answer, error) {}) },
		"joined":    b.Joined,
	} {
		all := listen(t, nc, "phx.>")
		e := &gateway.Event{
			Topic: "room:ä", Name: "ein ß", Channel: "g1.a.b", SocketID: "user=1", Ref: "1", JoinRef: "2", From: "g1.a.b", Assigns: []byte(`{"role":"admin"}`),
		}
		smallest := limit - 1000
		tooLarge := sort.Search(2000, func(n int) bool {
			e.Payload = make([]byte, smallest+n)
			err := send(e)
			if err != nil && err != gateway.ErrTooLarge {
				t.Fatalf("%s of %d bytes: %v", name, len(e.Payload), err)
			}
			return err != nil
		})
		if tooLarge == 0 || tooLarge == 2000 {
			t.Fatalf("%s: no boundary near %d", name, limit)
		}
		e.Payload = make([]byte, smallest+tooLarge-1)
		if err := send(e); err != nil {
			t.Fatalf("%s of %d bytes: %v", name, len(e.Payload), err)
		}
		e.Payload = nil
		if err := b.Cast(&gateway.Event{Topic: "end", Name: "end"}); err != nil {
			t.Fatal(err)
		}
		largest := 0
		for {
			m := next(t, all)
			if m.Subject == "phx.event.end.end" {
				break
			}
			largest = max(largest, m.Size()-len(m.Subject)-len(m.Reply))
		}
		if largest != limit {
			t.Errorf("%s: the largest message has %d bytes, max_payload is %d", name, largest, limit)
		}
		if err := all.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.stats.Reconnects.Load(); n != 0 || r.count("gap") != 0 {
		t.Errorf("the server closed the connection %d times", n)
	}
}

func TestDroppedReports(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	nc := backend(t, url)
	reports := listen(t, nc, "phx.dropped")
	subscribe(t, b, "room:a")
	const topic, channel = "phx.topic.room.a", "phx.channel.g1.a.b"
	for _, c := range []struct {
		subject, body string
		headers       []string
		reason        dropReason
	}{
		{topic, `{"a":"` + "\xff" + `"}`, []string{"Phx-Event", "e"}, dropNotUTF8},
		{topic, `{"a"`, []string{"Phx-Event", "e"}, dropNotJSON},
		{topic, `[]`, []string{"Phx-Event", "e"}, dropNotObject},
		{topic, `{"payload":{}}`, nil, dropNoEvent},
		{topic, `{"event":"phx_reply","payload":{}}`, nil, dropReserved},
		{topic, `{}`, []string{"Phx-Event", "a=zz"}, dropEventHeader},
		{topic, `{"event":"e","payload":1}`, nil, dropNotObject},
		{channel, `{}`, nil, dropMeaningless},
		{channel, ``, []string{"Phx-Action", "leave"}, dropAction},
		{channel, `{`, []string{"Phx-Ref", "1", "Phx-Status", "ok"}, dropNotJSON},
		{"phx.socket.ann", ``, nil, dropMeaningless},
		{"phx.authz.recheck.topic.=zz", ``, nil, dropBadID},
		{"phx.authz.recheck.socket.a.b", ``, nil, dropBadID},
		{"phx.authz.recheck.all", ``, nil, dropBadID},
		{"phx.socket.=zz", ``, []string{"Phx-Action", "disconnect"}, dropBadID},
	} {
		before := b.stats.Dropped[c.reason].Load()
		publish(t, nc, c.subject, c.body, c.headers...)
		m := next(t, reports)
		if want := fmt.Sprintf(`{"subject":"%s","reason":"%s","gateway":"g1"}`, c.subject, c.reason); string(m.Data) != want {
			t.Errorf("%s %q: report %s, want %s", c.subject, c.body, m.Data, want)
		}
		if n := b.stats.Dropped[c.reason].Load() - before; n != 1 {
			t.Errorf("%s %q: counted %d times", c.subject, c.body, n)
		}
	}
	// A flood is counted whole and told in part; what is good goes on.
	before := b.stats.Dropped[dropNotObject].Load()
	began := time.Now()
	for range 2000 {
		publish(t, nc, topic, `1`, "Phx-Event", "e")
	}
	publish(t, nc, topic, `{}`, "Phx-Event", "good")
	waitFor(t, "the good one", func() bool { return r.count("topic room:a good {}") == 1 })
	if n := b.stats.Dropped[dropNotObject].Load() - before; n != 2000 {
		t.Errorf("%d of 2000 were counted", n)
	}
	subscribe(t, b, "room:b") // whatever was to be told has left by now
	if err := nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Fatal(err)
	}
	told, _, err := reports.Pending()
	if limit := 21 + int(time.Since(began)/(100*time.Millisecond)); err != nil || told > limit {
		t.Errorf("a flood was told %d times (%v), want at most %d", told, err, limit)
	}
	if r.len() != 1 {
		t.Errorf("the gateway saw %d messages, want the good one alone", r.len())
	}
}
