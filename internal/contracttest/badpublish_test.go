package contracttest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

type natsMsg = nats.Msg

// deep is an object of n levels.
func deep(n int) string {
	return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1)
}

// deepArray is an object of n levels, all but the first of them arrays.
func deepArray(n int) string {
	return `{"a":` + strings.Repeat(`[`, n-1) + strings.Repeat(`]`, n-1) + `}`
}

func event(name string) []string { return []string{"Phx-Event", name} }

// badPublishes are messages that no client may see, on a topic's subject.
var badPublishes = []struct {
	name, body string
	headers    []string
}{
	{"not UTF-8", "{\"a\":\"\xff\"}", event("m")},
	{"not UTF-8, cut rune", "{\"a\":\"\xe2\x82\"}", event("m")},
	{"not UTF-8, surrogate", "{\"a\":\"\xed\xa0\x80\"}", event("m")},
	{"envelope not UTF-8", "{\"event\":\"m\",\"payload\":{\"a\":\"\xff\"}}", nil},
	{"envelope not UTF-8 in an unknown key", "{\"event\":\"m\",\"payload\":{},\"x\":\"\xff\"}", nil},
	{"not JSON", `{"a":1`, event("m")},
	{"text", `hello`, event("m")},
	{"two values", `{} {}`, event("m")},
	{"trailing comma", `{"a":1,}`, event("m")},
	{"leading zero", `{"a":01}`, event("m")},
	{"control character", "{\"a\":\"\x01\"}", event("m")},
	{"NaN", `{"a":NaN}`, event("m")},
	{"envelope not JSON", `{"event":"m","payload":{}`, nil},
	{"envelope, two values", `{"event":"m","payload":{}}{}`, nil},
	{"empty", ``, event("m")},
	{"empty without header", ``, nil},
	{"array", `[{"a":1}]`, event("m")},
	{"string", `"a"`, event("m")},
	{"number", `1`, event("m")},
	{"null", `null`, event("m")},
	{"envelope is an array", `["m",{}]`, nil},
	{"payload is an array", `{"event":"m","payload":[]}`, nil},
	{"payload is a string", `{"event":"m","payload":"{}"}`, nil},
	{"payload is null", `{"event":"m","payload":null}`, nil},
	{"payload is missing", `{"event":"m"}`, nil},
	{"1001 levels", deep(1001), event("m")},
	{"1001 levels of arrays", deepArray(1001), event("m")},
	{"payload of 1001 levels", `{"event":"m","payload":` + deep(1001) + `}`, nil},
	{"payload of 1001 levels of arrays", `{"event":"m","payload":` + deepArray(1001) + `}`, nil},
	{"100,000 levels", deep(100_000), event("m")},
	{"no event", `{"payload":{"a":1}}`, nil},
	{"event is null", `{"event":null,"payload":{}}`, nil},
	{"event is a number", `{"event":1,"payload":{}}`, nil},
	{"event of 256 bytes", `{}`, event(strings.Repeat("x", 256))},
	{"event of 256 bytes, encoded", `{}`, event(strings.Repeat("=C3=A9", 128))},
	{"envelope event of 256 bytes", `{"event":"` + strings.Repeat("é", 128) + `","payload":{}}`, nil},
	{"phx_reply", `{"status":"ok","response":{}}`, event("phx_reply")},
	{"phx_close", `{}`, event("phx_close")},
	{"phx_custom", `{}`, event("phx_custom")},
	{"envelope phx_error", `{"event":"phx_error","payload":{}}`, nil},
	{"envelope phx_ escaped", `{"event":"\u0070hx_error","payload":{}}`, nil},
	{"lower-case escape", `{}`, event("a=3d")},
	{"escape of a safe byte", `{}`, event("=41")},
	{"escape cut short", `{}`, event("a=3")},
	{"escape without digits", `{}`, event("a=")},
	{"escape that is none", `{}`, event("a=ZZ")},
	{"raw bytes in the header", `{}`, event("caf\xc3\xa9")},
	{"escape that is not UTF-8", `{}`, event("=FF")},
	{"binary without event", "\x00", []string{"Phx-Encoding", "binary"}},
	{"binary phx_", "\x00", []string{"Phx-Encoding", "binary", "Phx-Event", "phx_x"}},
	{"binary, event of 256 bytes", "\x00", []string{"Phx-Encoding", "binary", "Phx-Event", strings.Repeat("x", 256)}},
}

// wantTold publishes again and again, since the telling is limited in rate,
// until phx.dropped names the subject.
func wantTold(t *testing.T, b *backend, told *nats.Subscription, publish *nats.Msg) {
	t.Helper()
	deadline := time.Now().Add(phxtest.Patience())
	for time.Now().Before(deadline) {
		if err := b.nc.PublishMsg(publish); err != nil {
			t.Fatal(err)
		}
		for {
			msg, err := told.NextMsg(250 * time.Millisecond)
			if err != nil {
				break
			}
			var said map[string]string
			if err := json.Unmarshal(msg.Data, &said); err != nil || len(said) != 3 || said["reason"] == "" || said["gateway"] == "" {
				t.Fatalf(`phx.dropped: %s (%v), want {"subject","reason","gateway"}`, msg.Data, err)
			}
			if said["subject"] == publish.Subject {
				return
			}
		}
	}
	t.Errorf("phx.dropped says nothing of %s", publish.Subject)
}

func TestBadPublishes(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	told := b.listen("phx.dropped")
	joined := b.listen("phx.joined.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	channel := next(t, joined).Header.Get("Phx-Channel")
	for _, bad := range badPublishes {
		subjects := []string{"phx.topic.room.1"}
		if bad.headers != nil && bad.headers[0] == "Phx-Event" { // without an event it is not a push at all
			subjects = append(subjects, "phx.channel."+channel)
		}
		for _, subject := range subjects {
			what := bad.name + " on " + subject
			before := g.dropped(t)
			b.publish(subject, bad.body, bad.headers...)
			b.publish(subject, `{"after":"`+what+`"}`, "Phx-Event", "mark")
			m, err := phxtest.ParseMessage(c.Recv(phxtest.Patience()))
			if err != nil || m.Event != "mark" {
				t.Errorf("%s: the client sees %s %.200s (%v)", what, m.Event, m.Payload, err)
				c.WantUntil(`["1",null,"room:1","mark",{"after":"` + what + `"}]`)
				continue
			}
			if after := g.dropped(t); after != before+1 {
				t.Errorf("%s: %v counted, want 1", what, after-before)
			}
		}
	}
	wantTold(t, b, told, message("phx.topic.room.1", `{`, "Phx-Event", "m"))
	wantTold(t, b, told, message("phx.channel."+channel, `{`, "Phx-Event", "m"))

	// What is just within the limits goes.
	for _, good := range []struct{ body, payload string }{
		{deep(1000), deep(1000)},
		{deepArray(1000), deepArray(1000)},
	} {
		b.publish("phx.topic.room.1", good.body, "Phx-Event", "m")
		c.WantEvent("room:1", "m", good.payload)
		b.publish("phx.topic.room.1", `{"event":"m","payload":`+good.payload+`}`)
		c.WantEvent("room:1", "m", good.payload)
		b.publish("phx.channel."+channel, good.body, "Phx-Event", "m")
		c.WantEvent("room:1", "m", good.payload)
	}
}

// What is neither a push, nor an end, nor a late reply is dropped and counted.
func TestBadChannelMessages(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	told := b.listen("phx.dropped")
	joined := b.listen("phx.joined.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	subject := "phx.channel." + next(t, joined).Header.Get("Phx-Channel")
	for _, bad := range []struct {
		name    string
		headers []string
	}{
		{"no header", nil},
		{"unknown action", []string{"Phx-Action", "explode"}},
		{"a socket's action", []string{"Phx-Action", "disconnect"}},
		{"status without ref", []string{"Phx-Status", "ok"}},
		{"ref without status", []string{"Phx-Ref", "1"}},
	} {
		before := g.dropped(t)
		b.publish(subject, `{"event":"m","payload":{}}`, bad.headers...)
		b.publish(subject, `{}`, "Phx-Event", "mark")
		c.WantEvent("room:1", "mark", `{}`)
		if after := g.dropped(t); after != before+1 {
			t.Errorf("%s: %v counted, want 1", bad.name, after-before)
		}
	}
	wantTold(t, b, told, message(subject, `{}`))
}
