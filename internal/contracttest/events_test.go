package contracttest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const eventRules = `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: quiet, do: broadcast}
      - {event: loud, do: broadcast, reply: true}
      - {event: "typing*", do: broadcast_from, reply: true}
      - {event: seen, do: cast}
      - {event: noted, do: cast, reply: true}
      - {event: no, do: reject}
      - {event: "no*", do: call}
      - {event: "ask*", do: call}
`

func TestEventRules(t *testing.T) {
	t.Parallel()
	g, b := setup(t, eventRules)
	events := b.listen("phx.event.>")
	joined := b.listen("phx.joined.>")
	sender, other := g.dial(t, phxtest.Name("sender")), g.dial(t, phxtest.Name("other"))
	sender.Join("room:1", struct{}{})
	channel := next(t, joined).Header.Get("Phx-Channel")
	other.Join("room:1", struct{}{})
	wantNext := func(subject string) *natsMsg {
		t.Helper()
		msg := next(t, events)
		if msg.Subject != subject {
			t.Errorf("event on %s, want %s", msg.Subject, subject)
		}
		return msg
	}

	// All but call and reject answer nothing; the next reply shows that.
	sender.Push("room:1", "quiet", map[string]int{"n": 1})
	sender.WantEvent("room:1", "quiet", `{"n":1}`)
	other.WantEvent("room:1", "quiet", `{"n":1}`)
	sender.Push("room:1", "seen", map[string]int{"n": 2})
	msg := wantNext("phx.event.seen.room.1")
	if msg.Reply != "" || string(msg.Data) != `{"n":2}` {
		t.Errorf("cast: %s, reply subject %q", msg.Data, msg.Reply)
	}
	wantHeaders(t, msg, "Phx-Event", "seen", "Phx-Topic", "room:1", "Phx-Channel", channel, "Phx-Socket-Id", "")

	// With reply: true, ok and {}.
	for _, name := range []string{"typing", "typing_on", "noted"} {
		ref := sender.Push("room:1", name, map[string]string{"of": name})
		sender.Want(fmt.Sprintf(`["1",%q,"room:1","phx_reply",{"status":"ok","response":{}}]`, ref))
	}
	other.WantEvent("room:1", "typing", `{"of":"typing"}`)
	other.WantEvent("room:1", "typing_on", `{"of":"typing_on"}`)
	wantNext("phx.event.noted.room.1")
	sender.Call("room:1", "loud", struct{}{}, "ok")
	sender.WantEvent("room:1", "loud", `{}`)
	other.WantEvent("room:1", "loud", `{}`)

	wantError(t, sender, sender.Push("room:1", "no", struct{}{}), "unmatched event")
	wantError(t, sender, sender.Push("room:1", "Ask", struct{}{}), "unmatched event")
	sender.Push("room:1", "not", struct{}{})
	reply(wantNext("phx.event.not.room.1"), "", "Phx-Status", "none")
	sender.Push("room:1", "ask", struct{}{})
	reply(wantNext("phx.event.ask.room.1"), "", "Phx-Status", "none")
	sender.Heartbeat()
}

// Names that only the servers use cannot be broadcast by a client, whatever
// the rules say; a backend may be asked under them.
func TestReservedEventNames(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "ask:*"
    join: allow
    events: [{event: "*", do: call}]
  - topic: "all:*"
    join: allow
    events: [{event: "*", do: broadcast, reply: true}]
  - topic: "others:*"
    join: allow
    events: [{event: "*", do: broadcast_from}]
`)
	b.answer("phx.event.*.ask.1", `{"asked":true}`)
	c, observer := g.dial(t), g.dial(t)
	for _, topic := range []string{"ask:1", "all:1", "others:1"} {
		c.Join(topic, struct{}{})
		observer.Join(topic, struct{}{})
	}
	for _, name := range []string{"presence_state", "presence_diff", "presence_count", "gap", "phx_reply", "phx_close", "phx_error", "phx_", "phx_custom"} {
		wantError(t, c, c.Push("all:1", name, struct{}{}), "unmatched event")
		wantError(t, c, c.Push("others:1", name, struct{}{}), "unmatched event")
		wantJSON(t, name, c.Call("ask:1", name, struct{}{}, "ok"), `{"asked":true}`)
	}
	for _, name := range []string{"phx", "gaps", "presence", "Gap"} {
		c.Call("all:1", name, struct{}{}, "ok")
		observer.WantEvent("all:1", name, `{}`)
	}
}

func TestInvalidPayloads(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: all, do: broadcast, reply: true}
      - {event: others, do: broadcast_from}
      - {event: set, do: broadcast, set: {who: socket.id}}
      - {event: cast, do: cast}
      - {event: ask, do: call}
`)
	b.answer("phx.event.ask.>", ``)
	casts := b.listen("phx.event.cast.>")
	c, observer := g.dial(t), g.dial(t)
	c.Join("room:1", struct{}{})
	observer.Join("room:1", struct{}{})
	for _, payload := range []string{`[]`, `[{"a":1}]`, `"a"`, `1`, `null`, `true`} {
		for _, name := range []string{"all", "others", "set"} {
			c.SendText(fmt.Sprintf(`["1","x",%q,%q,%s]`, "room:1", name, payload))
			wantError(t, c, "x", "invalid payload")
		}
		// A backend may take any JSON value.
		c.SendText(fmt.Sprintf(`["1","y","room:1","cast",%s]`, payload))
		if msg := next(t, casts); string(msg.Data) != payload {
			t.Errorf("cast of %s: got %s", payload, msg.Data)
		}
		c.SendText(fmt.Sprintf(`["1","z","room:1","ask",%s]`, payload))
		c.WantReply("z", "ok")
	}
}

// What every gateway would drop as too deep is not published: the client is
// told. A call has no such limit, and Phoenix's decoder has none either.
func TestDeepPayloads(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: all, do: broadcast, reply: true}
      - {event: ask, do: call}
`)
	b.answer("phx.event.ask.>", ``)
	for _, test := range []struct {
		event  string
		levels int
		reason string // empty for ok
	}{
		{"all", 1000, ""},
		{"all", 1001, "invalid payload"},
		{"ask", 1000, ""},
		{"ask", 1001, ""},
	} {
		t.Run(fmt.Sprintf("%s of %d levels", test.event, test.levels), func(t *testing.T) {
			c := g.dial(t)
			c.Join("room:1", struct{}{})
			c.SendText(`["1","deep","room:1","` + test.event + `",` + deep(test.levels) + `]`)
			if test.reason == "" {
				c.WantReply("deep", "ok")
			} else {
				wantError(t, c, "deep", test.reason)
			}
		})
	}
}

// The first match holds, of topics and of events, so a rule that an earlier
// one covers is no mistake.
func TestFirstMatchHolds(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]string{
		"events": `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: "say*", do: broadcast, reply: true}
      - {event: say_it, do: reject}
`,
		"topics": `channels:
  - topic: "room:*"
    join: allow
    events: [{event: "say*", do: broadcast, reply: true}]
  - {topic: "room:1", join: deny}
`,
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := setup(t, rules)
			c := g.dial(t)
			c.Join("room:1", struct{}{})
			c.Call("room:1", "say_it", struct{}{}, "ok")
		})
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: authz
    events:
      - event: "*"
        do: broadcast
        set: {user_id: assigns.user_id, who: socket.id, name: params.name, sub: claims.sub, also: assigns.claims.sub, gone: assigns.gone, "né": params.nobody}
`, "CONNECT_AUTH=authz")
	b.answer("phx.authz.connect", `{"allow":true,"id":"user:é","assigns":{"user_id":{"n":1.0},"claims":{"sub":"s1"}}}`)
	b.answer("phx.authz.join", `{"status":"ok"}`)
	c, observer := g.dial(t), g.dial(t)
	c.Join("room:1", map[string]string{"name": "Ann \"é\""})
	observer.Join("room:1", struct{}{})
	const set = `"user_id":{"n":1.0},"who":"user:é","name":"Ann \"é\"","sub":"s1","also":"s1","gone":null,"né":null`
	for _, test := range []struct{ sent, want string }{
		{`{}`, `{` + set + `}`},
		{`{"body":"hi"}`, `{"body":"hi",` + set + `}`},
		{`{"user_id":"EVIL","body":1,"who":"EVIL","gone":"EVIL"}`, `{"body":1,` + set + `}`},
		{`{"user_id":"EVIL","user_id":{"EVIL":"EVIL"},"user_id":["EVIL"]}`, `{` + set + `}`},
		{`{"user\u005fid":"EVIL","\u0067one":"EVIL","n\u00e9":"EVIL","w\u0068o" : {"a":"EVIL"} , "body" : [ "user_id" ] }`, `{"body":["user_id"],` + set + `}`},
		{`{"né":"EVIL","nested":{"user_id":"kept"}}`, `{"nested":{"user_id":"kept"},` + set + `}`},
	} {
		c.SendText(`["1","5","room:1","m",` + test.sent + `]`)
		f := observer.Recv(phxtest.Patience())
		m, err := phxtest.ParseMessage(f)
		if err != nil {
			t.Fatal(err)
		}
		wantJSON(t, test.sent, m.Payload, test.want)
		if strings.Contains(string(m.Payload), "EVIL") {
			t.Errorf("%s: what the client claimed is still there: %s", test.sent, m.Payload)
		}
	}
}
