package contracttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

func TestJoinRequest(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "CONNECT_AUTH=authz")
	b.serve("phx.authz.connect", func(msg *natsMsg) {
		if param(msg.Data, "uid") == "" {
			reply(msg, `{"allow":true}`)
			return
		}
		reply(msg, `{"allow":true,"id":"user_socket:42","assigns":{"user_id":"42","n":1}}`)
	})
	requests, joined := b.listen("phx.authz.join"), b.listen("phx.joined.>")
	for _, test := range []struct{ query, params, socket string }{
		{"uid=42&vsn=2.0.0", `{"a":[1,{"b":"é"}]}`, `{"id":"user_socket:42","assigns":{"user_id":"42","n":1},"transport":"websocket","peer":"127.0.0.1"}`},
		{"uid=42&vsn=2.0.0", `null`, `{"id":"user_socket:42","assigns":{"user_id":"42","n":1},"transport":"websocket","peer":"127.0.0.1"}`},
		{"vsn=2.0.0", `{}`, `{"id":null,"assigns":{},"transport":"websocket","peer":"127.0.0.1"}`},
	} {
		c := phxtest.Dial(t, g.url(test.query))
		c.SendText(`["1","1","room:lobby","phx_join",` + test.params + `]`)
		msg := next(t, requests)
		reply(msg, `{"status":"ok"}`)
		if got := c.WantReply("1", "ok").Payload; string(got) != `{}` {
			t.Errorf("response %s, want {}", got)
		}
		channel := next(t, joined).Header.Get("Phx-Channel")
		wantJSON(t, "join request", msg.Data,
			`{"topic":"room:lobby","params":`+test.params+`,"channel":"`+channel+`","socket":`+test.socket+`}`)
	}
}

func TestJoinReplies(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "AUTHZ_TIMEOUT=300ms")
	c := g.dial(t)
	wantError(t, c, c.StartJoin("room:1", struct{}{}), "authorization unavailable") // no responder
	answers := make(chan string, 1)
	b.serve("phx.authz.join", func(msg *natsMsg) {
		if answer := <-answers; answer != "silence" {
			reply(msg, answer)
		}
	})
	const nonsense = `{"reason":"authorization unavailable"}`
	for _, test := range []struct{ answer, status, response string }{
		{`{"status":"ok"}`, "ok", `{}`},
		{`{"status":"ok","response":{"role":"admin","n":1.0}}`, "ok", `{"role":"admin","n":1.0}`},
		{`{"status":"ok","response":null}`, "ok", `null`},
		{`{"status":"ok","response":[1e3]}`, "ok", `[1e3]`},
		{`{"status":"ok","response":"\u0041"}`, "ok", `"\u0041"`},
		{`{"status":"ok","response":0}`, "ok", `0`},
		{`{"status":"ok","unknown":true,"expires_at":32503680000}`, "ok", `{}`},
		{`{"status":"error","response":{"reason":"unauthorized"}}`, "error", `{"reason":"unauthorized"}`},
		{`{"status":"error"}`, "error", `{}`},
		{`{"status":"error","response":"no"}`, "error", `"no"`},
		{`silence`, "error", nonsense},
		{``, "error", nonsense},
		{`{}`, "error", nonsense},
		{`ok`, "error", nonsense},
		{`["ok"]`, "error", nonsense},
		{`{"status":"fine"}`, "error", nonsense},
		{`{"status":true}`, "error", nonsense},
		{`{"status":null}`, "error", nonsense},
		{"{\"status\":\"ok\",\"response\":\"\xff\"}", "error", nonsense},
		{`{"status":"ok","assigns":1}`, "error", nonsense},
		{`{"status":"ok","events":"all"}`, "error", nonsense},
		{`{"status":"ok","events":[1]}`, "error", nonsense},
		{`{"status":"ok","expires_at":"soon"}`, "error", nonsense},
		{`{"status":"ok"} {}`, "error", nonsense},
	} {
		answers <- test.answer
		m := c.WantReply(c.StartJoin("room:1", struct{}{}), "")
		if m.Status != test.status || string(m.Payload) != test.response {
			t.Errorf("%s: got %s %s, want %s %s", test.answer, m.Status, m.Payload, test.status, test.response)
		}
		if m.Status == "ok" {
			c.Leave("room:1")
		} else {
			wantError(t, c, c.Push("room:1", "ask", struct{}{}), "unmatched topic")
		}
	}
}

func TestJoinAssigns(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "CONNECT_AUTH=authz")
	b.answer("phx.authz.connect", `{"allow":true,"assigns":{"a":1,"b":{"x":1}}}`)
	b.answer("phx.authz.join", `{"status":"ok","assigns":{"b":{"y":2},"c":3}}`)
	joined, requests := b.listen("phx.joined.>"), b.listen("phx.authz.join")
	c := g.dial(t)
	for _, topic := range []string{"room:1", "room:2"} { // the socket's own stay as they are
		c.Join(topic, struct{}{})
		wantJSON(t, "assigns", []byte(next(t, joined).Header.Get("Phx-Assigns")), `{"a":1,"b":{"y":2},"c":3}`)
		msg := next(t, requests)
		if !strings.Contains(string(msg.Data), `"b":{"x":1}`) || strings.Contains(string(msg.Data), `"c"`) {
			t.Errorf("join request %s, want the socket's assigns", msg.Data)
		}
	}
}

func TestChannelExpires(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules)
	b.serve("phx.authz.join", func(msg *natsMsg) {
		after := int64(2)
		if param(msg.Data, "past") != "" {
			after = -60
		}
		reply(msg, fmt.Sprintf(`{"status":"ok","expires_at":%d}`, time.Now().Unix()+after))
	})
	c := g.dial(t)
	c.WantReply(c.StartJoin("room:past", map[string]string{"past": "yes"}), "error")
	wantError(t, c, c.Push("room:past", "ask", struct{}{}), "unmatched topic")
	start := time.Now()
	join := c.StartJoin("room:1", struct{}{})
	c.WantReply(join, "ok")
	m := c.WantEvent("room:1", "phx_error", `{"$type":"object"}`)
	if m.JoinRef != join || m.Ref != join {
		t.Errorf("refs %v %v, want %s", m.JoinRef, m.Ref, join)
	}
	if took := time.Since(start); took < 500*time.Millisecond || took > phxtest.Scaled(4*time.Second) {
		t.Errorf("expired after %v, want 1 to 2 s", took)
	}
	c.WantReply(c.StartJoin("room:1", struct{}{}), "ok")
}

func TestTooManyChannels(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - {topic: "slow:*"}
  - {topic: "*", join: allow}
`, "MAX_CHANNELS_PER_SOCKET=3")
	requests := b.listen("phx.authz.join")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	slow := c.StartJoin("slow:1", struct{}{}) // joins that are under way count
	held := next(t, requests)
	c.Join("room:2", struct{}{})
	wantError(t, c, c.StartJoin("room:3", struct{}{}), "too many channels joined")
	c.Join("room:2", struct{}{}) // a duplicate join frees its old place first
	reply(held, `{"status":"error"}`)
	c.WantReply(slow, "error")
	c.Join("room:3", struct{}{}) // a refused one does not count
	wantError(t, c, c.StartJoin("room:4", struct{}{}), "too many channels joined")
	c.Push("room:1", "phx_leave", struct{}{})
	c.WantUntil(`["1","1","room:1","phx_close",{}]`)
	c.Join("room:4", struct{}{})
	hundred := startGateway(t, b.nc.ConnectedUrl(), everything)
	c = hundred.dial(t)
	for n := range 100 {
		c.Join(fmt.Sprintf("room:%d", n), struct{}{})
	}
	wantError(t, c, c.StartJoin("room:100", struct{}{}), "too many channels joined")
}

// What is pushed behind a join that is under way reaches the joined channel;
// a leave behind it ends it, and a refused join takes it along.
func TestPushesBehindAJoin(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules)
	requests, events := b.listen("phx.authz.join"), b.listen("phx.event.>")
	joined, left := b.listen("phx.joined.>"), b.listen("phx.left.>")
	c := g.dial(t)
	c.StartJoin("room:1", struct{}{})
	for _, event := range []string{"a", "b", "phx_leave"} {
		c.Push("room:1", event, struct{}{})
	}
	msg := next(t, requests)
	c.Heartbeat() // a slow join does not block the socket
	reply(msg, `{"status":"ok"}`)
	c.Want(`["1","1","room:1","phx_reply",{"status":"ok","response":{}}]`)
	for n, event := range []string{"a", "b"} {
		msg := next(t, events)
		if msg.Subject != "phx.event."+event+".room.1" {
			t.Fatalf("got %s, want %s", msg.Subject, event)
		}
		reply(msg, ``)
		c.Want(fmt.Sprintf(`["1","%d","room:1","phx_reply",{"status":"ok","response":{}}]`, n+2))
	}
	c.Want(`["1","4","room:1","phx_reply",{"status":"ok","response":{}}]`)
	c.Want(`["1","1","room:1","phx_close",{}]`)
	next(t, joined)
	if msg := next(t, left); string(msg.Data) != `{"reason":"left"}` {
		t.Errorf("left: %s", msg.Data)
	}

	join := c.StartJoin("room:2", struct{}{})
	c.Push("room:2", "a", struct{}{})
	reply(next(t, requests), `{"status":"error","response":{"reason":"no"}}`)
	wantError(t, c, join, "no")
	join = c.StartJoin("room:3", struct{}{})
	reply(next(t, requests), `{"status":"ok"}`)
	c.WantReply(join, "ok")
	// A refused join is neither joined nor left, and its events go nowhere.
	if msg := next(t, joined); msg.Subject != "phx.joined.room.3" {
		t.Errorf("joined on %s", msg.Subject)
	}
	if n, _, err := events.Pending(); n != 0 || err != nil {
		t.Errorf("%d events were handed over (%v)", n, err)
	}
	// A socket that goes while its join is under way leaves nobody behind.
	c.StartJoin("room:4", struct{}{})
	msg = next(t, requests)
	c.Drop()
	if msg := next(t, left); msg.Subject != "phx.left.room.3" {
		t.Errorf("left on %s", msg.Subject)
	}
	reply(msg, `{"status":"ok"}`)
	other := g.dial(t)
	other.StartJoin("room:5", struct{}{})
	reply(next(t, requests), `{"status":"ok"}`)
	if msg := next(t, joined); msg.Subject == "phx.joined.room.4" {
		if l := next(t, left); l.Subject != "phx.left.room.4" {
			t.Errorf("joined room:4 and left %s", l.Subject)
		}
	}
}
