package contracttest

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

func TestBroadcastForms(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	joined := b.listen("phx.joined.>")
	sender, other, v1 := g.dial(t, phxtest.Name("sender")), g.dial(t, phxtest.Name("other")), g.dialV1(t, phxtest.Name("v1"))
	sender.Join("room:lobby", struct{}{})
	from := next(t, joined).Header.Get("Phx-Channel")
	other.Join("room:lobby", struct{}{})
	v1.Join("room:lobby", struct{}{})

	for _, test := range []struct {
		name, body string
		headers    []string
		event      string
		withheld   bool // from the sender
	}{
		{"header", `{"n":1}`, []string{"Phx-Event", "new_msg"}, "new_msg", false},
		{"header and json", `{"n":1}`, []string{"Phx-Event", "a b", "Phx-Encoding", "json"}, "a b", false},
		{"encoded event", `{"n":1}`, []string{"Phx-Event", "caf=C3=A9:=3D"}, "café:=", false},
		{"header and from", `{"n":1}`, []string{"Phx-Event", "new_msg", "Phx-From", from}, "new_msg", true},
		{"other headers", `{"n":1}`, []string{"Phx-Event", "new_msg", "X-Mine", "é"}, "new_msg", false},
		{"envelope", `{"event":"new_msg","payload":{"n":1}}`, nil, "new_msg", false},
		{"envelope, any order", ` {"payload" : {"n":1} , "event":"caf\u00e9"} `, nil, "café", false},
		{"envelope and from", `{"event":"new_msg","payload":{"n":1},"from":"` + from + `"}`, nil, "new_msg", true},
		{"envelope, unknown keys", `{"x":[{"event":"no"}],"event":"new_msg","payload":{"n":1},"channel":"a.b.1","y":null}`, nil, "new_msg", false},
		{"envelope, from of nobody", `{"event":"new_msg","payload":{"n":1},"from":"a.b.1"}`, nil, "new_msg", false},
		{"event of 255 bytes", `{"n":1}`, []string{"Phx-Event", string(bytes.Repeat([]byte("x"), 255))}, string(bytes.Repeat([]byte("x"), 255)), false},
	} {
		b.publish("phx.topic.room.lobby", test.body, test.headers...)
		b.publish("phx.topic.room.lobby", `{"of":"`+test.name+`"}`, "Phx-Event", "mark")
		for _, c := range []*phxtest.Client{other, v1, sender} {
			if c != sender || !test.withheld {
				if m := c.WantEvent("room:lobby", test.event, `{"n":1}`); m.Ref != nil || m.JoinRef != nil {
					t.Errorf("%s: refs %v %v, want none", test.name, m.JoinRef, m.Ref)
				}
			}
			c.WantEvent("room:lobby", "mark", `{"of":"`+test.name+`"}`)
		}
	}
}

func TestBinaryBroadcast(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	v2, v1 := g.dial(t), g.dialV1(t)
	v2.Join("room:1", struct{}{})
	v1.Join("room:1", struct{}{})
	for _, body := range []string{"\x00\xff{", "", `{"a":1}`} {
		before := g.dropped(t)
		b.publish("phx.topic.room.1", body, "Phx-Event", "bin", "Phx-Encoding", "binary")
		v2.WantBinary([]byte("\x02\x06\x03room:1bin" + body))
		g.waitForDropped(t, before) // withheld from V1, and counted
		b.publish("phx.topic.room.1", `{}`, "Phx-Event", "mark")
		v1.WantEvent("room:1", "mark", `{}`)
		v2.WantEvent("room:1", "mark", `{}`)
	}
}

// keptBytes are payloads that no decoder and encoder would bring back as they
// are.
var keptBytes = []string{
	`{"a":1.0,"b":1e3,"c":-0,"d":18446744073709551617,"e":0.1000}`,
	`{"z":1,"a":2,"m":{"y":1,"b":2}}`,
	`{"s":"\u0041\/\ud83d\ude00\u2028<>&","é":"é😀"}`,
	`{"k":1,"k":2,"k":{"k":3,"k":3}}`,
	`{}`,
}

func TestPayloadBytesAreKept(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "*"
    join: allow
    events:
      - {event: shout, do: broadcast}
      - {event: "*", do: call}
`)
	joined := b.listen("phx.joined.>")
	events := b.listen("phx.event.>")
	c, v1 := g.dial(t), g.dialV1(t)
	c.Join("room:1", struct{}{})
	channel := next(t, joined).Header.Get("Phx-Channel")
	v1.Join("room:1", struct{}{})
	want := func(c *phxtest.Client, what, payload string) {
		t.Helper()
		if f := c.Recv(phxtest.Patience()); !bytes.Contains(f.Data, []byte(payload)) {
			t.Errorf("%s: got %s, want the bytes %s", what, f, payload)
		}
	}
	for _, payload := range keptBytes {
		b.publish("phx.topic.room.1", payload, "Phx-Event", "m")
		want(c, "header form", payload)
		want(v1, "header form, V1", payload)
		b.publish("phx.topic.room.1", `{"event":"m","payload":`+payload+`}`)
		want(c, "envelope", payload)
		want(v1, "envelope, V1", payload)
		c.SendText(`["1","9","room:1","shout",` + payload + `]`)
		want(c, "client's broadcast", payload)
		want(v1, "client's broadcast, V1", payload)
		b.publish("phx.channel."+channel, payload, "Phx-Event", "m")
		want(c, "push", payload)
		c.SendText(`["1","10","room:1","ask",` + payload + `]`)
		msg := next(t, events)
		if string(msg.Data) != payload {
			t.Errorf("call: backend got %s, want %s", msg.Data, payload)
		}
		reply(msg, payload)
		want(c, "reply", payload)
	}
}

func TestClientBroadcastOnNATS(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "*"
    join: authz
    events:
      - {event: others, do: broadcast_from}
      - {event: "*", do: broadcast, reply: true}
`, "CONNECT_AUTH=authz")
	b.serve("phx.authz.connect", func(msg *natsMsg) {
		if bytes.Contains(msg.Data, []byte(`"who":"anon"`)) {
			reply(msg, `{"allow":true}`)
			return
		}
		reply(msg, `{"allow":true,"id":"user:é"}`)
	})
	b.answer("phx.authz.join", `{"status":"ok"}`)
	joined := b.listen("phx.joined.>")
	topic := b.listen("phx.topic.>")
	named := phxtest.Dial(t, g.url("vsn=2.0.0"))
	anon := phxtest.Dial(t, g.url("who=anon&vsn=2.0.0"))
	named.Join("room:1", struct{}{})
	namedChannel := next(t, joined).Header.Get("Phx-Channel")
	anon.Join("room:1", struct{}{})
	anonChannel := next(t, joined).Header.Get("Phx-Channel")

	if got := named.Call("room:1", "all", map[string]int{"n": 1}, "ok"); string(got) != `{}` {
		t.Errorf("reply: true answers %s, want {}", got)
	}
	msg := next(t, topic)
	wantJSON(t, "envelope", msg.Data, `{"event":"all","payload":{"n":1},"channel":"`+namedChannel+`","socket_id":"user:é"}`)
	wantHeaders(t, msg, "Phx-Event", "")
	anon.WantEvent("room:1", "all", `{"n":1}`)
	named.WantEvent("room:1", "all", `{"n":1}`)

	anon.Push("room:1", "others", map[string]int{"n": 2})
	wantJSON(t, "envelope", next(t, topic).Data,
		`{"event":"others","payload":{"n":2},"from":"`+anonChannel+`","channel":"`+anonChannel+`"}`)
	named.WantEvent("room:1", "others", `{"n":2}`)

	// A binary push is broadcast as binary, under the header form.
	frame, _ := hex.DecodeString("00" + "01" + "01" + "06" + "03")
	anon.SendBinary(append(frame, "19room:1bin\x00\xff"...))
	msg = next(t, topic)
	wantHeaders(t, msg, "Phx-Event", "bin", "Phx-Encoding", "binary")
	if string(msg.Data) != "\x00\xff" {
		t.Errorf("binary broadcast %x", msg.Data)
	}
	named.WantBinary([]byte("\x02\x06\x03room:1bin\x00\xff"))
	anon.WantReply("9", "ok")
}
