package contracttest

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/phxgate/phxgate/internal/phxtest"
)

func TestCallReplies(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	events := b.listen("phx.event.>")
	v2, v1 := g.dial(t), g.dialV1(t)
	v2.Join("room:1", struct{}{})
	v1.Join("room:1", struct{}{})
	for _, test := range []struct {
		name, body       string
		headers          []string
		status, response string
	}{
		{"no status", `{"pong":true}`, nil, "ok", `{"pong":true}`},
		{"ok", `{"pong":true}`, []string{"Phx-Status", "ok"}, "ok", `{"pong":true}`},
		{"error", `{"reason":"no"}`, []string{"Phx-Status", "error"}, "error", `{"reason":"no"}`},
		{"any word", `{}`, []string{"Phx-Status", "conflict"}, "conflict", `{}`},
		{"json", `{}`, []string{"Phx-Encoding", "json"}, "ok", `{}`},
		{"empty", ``, nil, "ok", `{}`},
		{"empty error", ``, []string{"Phx-Status", "error"}, "error", `{}`},
		{"null", `null`, nil, "ok", `null`},
		{"number", `1.0`, nil, "ok", `1.0`},
		{"string", `"\u0041é"`, nil, "ok", `"\u0041é"`},
		{"array", `[1,{"b":1,"a":1e3}]`, nil, "ok", `[1,{"b":1,"a":1e3}]`},
		{"bool", `false`, nil, "ok", `false`},
		{"not JSON", `pong`, nil, "error", `{"reason":"bad reply"}`},
		{"two values", `{} {}`, nil, "error", `{"reason":"bad reply"}`},
		{"not UTF-8", "\"\xff\"", nil, "error", `{"reason":"bad reply"}`},
		{"not JSON with a status", `pong`, []string{"Phx-Status", "fine"}, "error", `{"reason":"bad reply"}`},
		{"service error", ``, []string{"Nats-Service-Error", "not found", "Nats-Service-Error-Code", "404"}, "error", `{"reason":"not found"}`},
		{"service error with a body", `{"x":1}`, []string{"Nats-Service-Error", "say \"no\"", "Nats-Service-Error-Code", "1"}, "error", `{"reason":"say \"no\""}`},
	} {
		for _, c := range []*phxtest.Client{v2, v1} {
			ref := c.Push("room:1", "ask", struct{}{})
			reply(next(t, events), test.body, test.headers...)
			m := c.WantReply(ref, "")
			if m.Status != test.status || string(m.Payload) != test.response {
				t.Errorf("%s: got %s %s, want %s %s", test.name, m.Status, m.Payload, test.status, test.response)
			}
		}
	}
	for _, body := range []string{"", "\x00\xff", `{"a":1}`} {
		v2.SendText(`["1","7","room:1","ask",{}]`)
		reply(next(t, events), body, "Phx-Encoding", "binary", "Phx-Status", "fine")
		v2.WantBinary([]byte("\x01\x01\x01\x06\x0417room:1fine" + body))
		ref := v1.Push("room:1", "ask", struct{}{})
		reply(next(t, events), body, "Phx-Encoding", "binary")
		wantError(t, v1, ref, "bad reply")
	}
	// none: the next reply shows that there was no other.
	v2.Push("room:1", "ask", struct{}{})
	reply(next(t, events), `{"never":"seen"}`, "Phx-Status", "none")
	last := v2.Push("room:1", "ask", struct{}{})
	reply(next(t, events), ``)
	v2.Want(`["1","` + last + `","room:1","phx_reply",{"status":"ok","response":{}}]`)
}

func TestCallEndsTheChannel(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	events := b.listen("phx.event.>")
	for _, test := range []struct {
		name    string
		headers []string
		replied bool
		notice  string
	}{
		{"close", []string{"Phx-Action", "close"}, true, `["1","1","room:1","phx_close",{}]`},
		{"close without reply", []string{"Phx-Action", "close", "Phx-Status", "none"}, false, `["1","1","room:1","phx_close",{}]`},
		{"crash", []string{"Phx-Action", "crash"}, false, `["1","1","room:1","phx_error",{"reason":"channel_crash"}]`},
		{"crash with a status", []string{"Phx-Action", "crash", "Phx-Status", "ok"}, false, `["1","1","room:1","phx_error",{"reason":"channel_crash"}]`},
	} {
		c := g.dial(t, phxtest.Name(test.name))
		c.Join("room:1", struct{}{})
		ref := c.Push("room:1", "ask", struct{}{})
		reply(next(t, events), `{"last":1}`, test.headers...)
		if test.replied {
			c.Want(`["1","` + ref + `","room:1","phx_reply",{"status":"ok","response":{"last":1}}]`)
		}
		c.Want(test.notice)
		b.publish("phx.topic.room.1", `{}`, "Phx-Event", "lost")
		wantError(t, c, c.Push("room:1", "ask", struct{}{}), "unmatched topic")
		c.Join("room:1", struct{}{})
		b.publish("phx.topic.room.1", `{}`, "Phx-Event", "mark") // what was lost does not reach the next client
		c.WantUntil(`[null,null,"room:1","mark",{}]`)
	}
}

func TestCallWithoutAnswer(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: nobody, do: call}
      - {event: "*", do: call, timeout: 200ms}
`)
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	start := time.Now()
	wantError(t, c, c.Push("room:1", "nobody", struct{}{}), "no backend")
	if took := time.Since(start); took > phxtest.Scaled(time.Second) {
		t.Errorf("no backend after %v, want at once", took)
	}
	events := b.listen("phx.event.>")
	ref := c.Push("room:1", "slow", struct{}{})
	late := next(t, events)
	wantError(t, c, ref, "timeout")
	// What comes later is dropped, assigns and action included.
	reply(late, `{"late":true}`, "Phx-Action", "close", "Phx-Assigns", `{"late":true}`)
	b.flush()
	ref = c.Push("room:1", "ask", struct{}{})
	msg := next(t, events)
	wantHeaders(t, msg, "Phx-Assigns", "{}")
	reply(msg, `{"n":2}`)
	c.Want(`["1","` + ref + `","room:1","phx_reply",{"status":"ok","response":{"n":2}}]`)
}

func TestMicroService(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	service, err := micro.AddService(b.nc, micro.Config{Name: "chat", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop() })
	err = service.AddEndpoint("ask", micro.HandlerFunc(func(r micro.Request) {
		if bytes.Contains(r.Data(), []byte("fail")) {
			_ = r.Error("404", "no such room", []byte(`{"ignored":1}`))
			return
		}
		_ = r.RespondJSON(map[string]any{"topic": r.Headers().Get("Phx-Topic")})
	}), micro.WithEndpointSubject("phx.event.ask.>"))
	if err != nil {
		t.Fatal(err)
	}
	b.flush()
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	wantJSON(t, "response", c.Call("room:1", "ask", struct{}{}, "ok"), `{"topic":"room:1"}`)
	wantError(t, c, c.Push("room:1", "ask", map[string]bool{"fail": true}), "no such room")
}

func TestCallHeaders(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "*"
    join: authz
    events: [{event: "*", do: call}]
`, "CONNECT_AUTH=authz")
	b.answer("phx.authz.connect", `{"allow":true,"id":" user=é:1","assigns":{"name":"Zoë 😀","n":1}}`)
	b.answer("phx.authz.join", `{"status":"ok","assigns":{"n":2,"role":"\u007f"}}`)
	joined, events := b.listen("phx.joined.>"), b.listen("phx.event.>")
	c := g.dial(t)
	c.Join("room:é", struct{}{})
	j := next(t, joined)
	channel := j.Header.Get("Phx-Channel")
	if parts := strings.Split(channel, "."); len(parts) != 3 {
		t.Errorf("channel id %q, want three tokens", channel)
	}
	headers := []string{"Phx-Topic", "room:=C3=A9", "Phx-Channel", channel, "Phx-Socket-Id", "=20user=3D=C3=A9:1"}
	wantHeaders(t, j, headers...)
	long := strings.Repeat("r", 64)
	for _, test := range []struct{ joinRef, ref, event, wantJoinRef, wantRef, wantEvent string }{
		{`"1"`, `"2"`, "ask", "1", "2", "ask"},
		{`"1"`, `"` + long + `"`, "a b", "1", long, "a b"},
		{`null`, `"` + long + `r"`, "a=b", "1", "", "a=3Db"},
		{`"1"`, `7`, " a", "1", "", "=20a"},
		{`"1"`, `null`, "a:b ", "1", "", "a:b=20"},
		{`"1"`, `"a b"`, "é", "1", "", "=C3=A9"},
		{`"1"`, `""`, `a\"\\`, "1", "", `a"\`},
		{`"1"`, `"é"`, `\t`, "1", "", "=09"},
		{`"1"`, `"~!=:"`, "ask", "1", "~!=:", "ask"},
		{`"1"`, `{"a":1}`, "ask", "1", "", "ask"},
	} {
		c.SendText(`[` + test.joinRef + `,` + test.ref + `,"room:é","` + test.event + `",{"a": 1.0}]`)
		msg := next(t, events)
		wantHeaders(t, msg, append(headers, "Phx-Ref", test.wantRef, "Phx-Event", test.wantEvent, "Phx-Join-Ref", test.wantJoinRef)...)
		if encoding := msg.Header.Get("Phx-Encoding"); encoding != "" && encoding != "json" {
			t.Errorf("Phx-Encoding %q", encoding)
		}
		assigns := msg.Header.Get("Phx-Assigns")
		wantJSON(t, "Phx-Assigns", []byte(assigns), `{"name":"Zoë 😀","n":2,"role":"\u007f"}`)
		for _, r := range assigns {
			if r > '~' {
				t.Errorf("Phx-Assigns %q is not ASCII", assigns)
				break
			}
		}
		if string(msg.Data) != `{"a": 1.0}` {
			t.Errorf("body %s", msg.Data)
		}
		reply(msg, ``)
		c.WantUntil(`["1",` + test.ref + `,"room:é","phx_reply",{"status":"ok","response":{}}]`)
	}
	c.SendBinary([]byte("\x00\x01\x01\x07\x0319room:\xc3\xa9bin\x00\xff"))
	msg := next(t, events)
	wantHeaders(t, msg, append(headers, "Phx-Ref", "9", "Phx-Event", "bin", "Phx-Join-Ref", "1", "Phx-Encoding", "binary")...)
	if string(msg.Data) != "\x00\xff" {
		t.Errorf("binary body %x", msg.Data)
	}
	reply(msg, ``)
	c.WantReply("9", "ok")
}

// Join refs that a header does not carry are left out too, and an anonymous
// socket has no id; its assigns are an empty object.
func TestCallHeadersOfOddJoins(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	events := b.listen("phx.event.>")
	for _, joinRef := range []string{`7`, `"a b"`, `"` + strings.Repeat("r", 65) + `"`, `"é"`} {
		c := g.dial(t)
		c.SendText(`[` + joinRef + `,"j","room:1","phx_join",{}]`)
		c.WantReply("j", "ok")
		c.SendText(`[` + joinRef + `,"r","room:1","ask",{}]`)
		msg := next(t, events)
		wantHeaders(t, msg, "Phx-Join-Ref", "", "Phx-Ref", "r", "Phx-Socket-Id", "", "Phx-Assigns", "{}")
		reply(msg, ``)
		c.Want(`[` + joinRef + `,"r","room:1","phx_reply",{"status":"ok","response":{}}]`)
	}
}
