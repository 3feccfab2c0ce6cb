package contracttest

import (
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// everything hands all events of all topics to a backend.
const everything = `channels:
  - topic: "*"
    join: allow
    events:
      - {event: "*", do: call}
`

func TestTopicsAndSubjects(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	joined := b.listen("phx.joined.>")
	events := b.listen("phx.event.>")
	c := g.dial(t)
	for topic, tokens := range map[string]string{
		"room:lobby":        "room.lobby",
		"user:42:inbox":     "user.42.inbox",
		"doc:a.b/c d*":      "doc.a=2Eb=2Fc=20d=2A",
		"room:":             "room.=",
		"lobby":             "lobby",
		":":                 "=.=",
		"a::b":              "a.=.b",
		"room:=":            "room.=3D",
		"room:>":            "room.=3E",
		"room:münchen":      "room.m=C3=BCnchen",
		"A-Z_09:\n\x7f":     "A-Z_09.=0A=7F",
		"room:\U0001F600\"": "room.=F0=9F=98=80=22",
	} {
		c.Join(topic, struct{}{})
		if msg := next(t, joined); msg.Subject != "phx.joined."+tokens {
			t.Errorf("%q: joined on %s, want %s", topic, msg.Subject, tokens)
		}
		b.publish("phx.topic."+tokens, `{"n":1}`, "Phx-Event", "new_msg")
		c.WantEvent(topic, "new_msg", `{"n":1}`)
		c.Push(topic, "ping", struct{}{})
		msg := next(t, events)
		if msg.Subject != "phx.event.ping."+tokens {
			t.Errorf("%q: event on %s, want %s", topic, msg.Subject, tokens)
		}
		reply(msg, "", "Phx-Status", "none")
	}
	for event, token := range map[string]string{
		"new_msg": "new_msg", "a:b": "a=3Ab", "a.b": "a=2Eb", "": "=", "*": "=2A", "é": "=C3=A9", "=": "=3D", "a b": "a=20b",
		"phx_custom":             "phx_custom",
		strings.Repeat("é", 127): strings.Repeat("=C3=A9", 127),
		strings.Repeat("x", 255): strings.Repeat("x", 255),
	} {
		c.Push("lobby", event, struct{}{})
		msg := next(t, events)
		if msg.Subject != "phx.event."+token+".lobby" {
			t.Errorf("event %q on %s, want %s", event, msg.Subject, token)
		}
		reply(msg, "", "Phx-Status", "none")
	}
}

// A subject that is not the one way to write a topic is nobody's.
func TestTopicDecodingIsStrict(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	c := g.dial(t)
	c.Join("a.b", struct{}{})
	c.Join("A", struct{}{})
	for _, subject := range []string{"phx.topic.a=2eb", "phx.topic.=41", "phx.topic.a.b"} {
		b.publish(subject, `{}`, "Phx-Event", "wrong")
	}
	b.publish("phx.topic.A", `{}`, "Phx-Event", "right")
	c.WantEvent("A", "right", `{}`)
	b.publish("phx.topic.a=2Eb", `{}`, "Phx-Event", "right")
	c.WantEvent("a.b", "right", `{}`)
}

func TestTopicLimits(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, `channels:
  - {topic: "free*", join: allow}
  - {topic: "deny*", join: deny}
`)
	parts := func(n int) string { return "free" + strings.Repeat(":a", n-1) }
	for _, open := range []func(*testing.T, ...phxtest.Option) *phxtest.Client{g.dial, g.dialV1} {
		c := open(t)
		c.Join("free"+strings.Repeat("x", 251), struct{}{})
		c.Join("free_"+strings.Repeat("é", 125), struct{}{})
		c.Join(parts(16), struct{}{})
		for _, topic := range []string{
			"", "free" + strings.Repeat("x", 252), "free" + strings.Repeat("é", 126), parts(17),
			strings.Repeat("nobody", 50), "deny" + strings.Repeat(":", 16), // before any rule
		} {
			wantError(t, c, c.StartJoin(topic, struct{}{}), "invalid topic")
		}
		wantError(t, c, c.StartJoin("other", struct{}{}), "unmatched topic")
		wantError(t, c, c.StartJoin("deny:1", struct{}{}), "unauthorized")
	}
	c := g.dial(t)
	c.SendText(`["1","1",7,"phx_join",{}]`)
	c.Want(`[null,"1",7,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]`)
}

func TestEventNameLimit(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything)
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	for _, event := range []string{strings.Repeat("x", 256), strings.Repeat("é", 128)} {
		wantError(t, c, c.Push("room:1", event, struct{}{}), "invalid event")
	}
	wantError(t, c, c.Push("room:1", strings.Repeat("x", 255), struct{}{}), "no backend")
}

func TestSubjectPrefix(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "SUBJECT_PREFIX=acme.eu-1.chat")
	all := b.listen(">")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.Push("room:1", "ping", struct{}{})
	b.publish("phx.topic.room.1", `{}`, "Phx-Event", "wrong")
	b.publish("acme.eu-1.chat.topic.room.1", `{}`, "Phx-Event", "right")
	c.WantEvent("room:1", "right", `{}`)
	for {
		msg := next(t, all)
		if strings.HasPrefix(msg.Subject, "phx.") && msg.Subject != "phx.topic.room.1" {
			t.Errorf("published on %s", msg.Subject)
		}
		if msg.Subject == "acme.eu-1.chat.event.ping.room.1" {
			if !strings.HasPrefix(msg.Reply, "_INBOX") && !strings.HasPrefix(msg.Reply, "acme.eu-1.chat.") {
				t.Errorf("reply inbox %s begins with neither _INBOX nor the prefix", msg.Reply)
			}
			return
		}
	}
}
