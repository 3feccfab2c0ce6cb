package contracttest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// wantReport wants the next report of phx.dropped to be about the subject, for that reason, by the gateway, g1.
func wantReport(t *testing.T, told *nats.Subscription, subject, reason string) {
	t.Helper()
	wantJSON(t, "phx.dropped", next(t, told).Data, `{"subject":"`+subject+`","reason":"`+reason+`","gateway":"g1"}`)
}

// Each message that a backend gets wrong is told with its subject and what is wrong, and counted once.
func TestDroppedMessages(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "GATEWAY_ID=g1")
	told, joined := b.listen("phx.dropped"), b.listen("phx.joined.>")
	v2, v1 := g.dial(t), g.dialV1(t)
	v2.Join("room:1", struct{}{})
	channel := "phx.channel." + next(t, joined).Header.Get("Phx-Channel")
	v1.Join("room:1", struct{}{})
	v1Channel := "phx.channel." + next(t, joined).Header.Get("Phx-Channel")
	const topic = "phx.topic.room.1"
	for _, test := range []struct {
		subject, body string
		headers       []string
		reason        string
	}{
		{topic, "{\"a\":\"\xff\"}", event("m"), "not UTF-8"},
		{topic, `{`, event("m"), "not JSON"},
		{topic, `hello`, nil, "not JSON"},
		{topic, `[]`, event("m"), "payload is not an object"},
		{topic, `{"event":"m"}`, nil, "payload is not an object"},
		{topic, deep(1001), event("m"), "more than 1000 levels deep"},
		{topic, `{"body":"hi"}`, nil, "no event"},
		{topic, `{}`, event(strings.Repeat("x", 256)), "event longer than 255 bytes"},
		{topic, `{}`, event("phx_reply"), "event name begins with phx_"},
		{topic, `{}`, event("a=3d"), "bad Phx-Event"},
		{topic, `{}`, []string{"Phx-Event", "m", "Phx-Encoding", "gzip"}, "bad Phx-Encoding"},
		{topic, `{"event":"m","payload":{},"from":1}`, nil, "bad from"},
		{channel, `{`, event("m"), "not JSON"},
		{channel, `{}`, event("phx_close"), "event name begins with phx_"},
		{channel, `{"event":"m","payload":{}}`, nil, "no Phx-Event, no reply, no Phx-Action"},
		{channel, ``, []string{"Phx-Ref", "1"}, "no Phx-Event, no reply, no Phx-Action"},
		{channel, ``, []string{"Phx-Action", "explode"}, "bad Phx-Action"},
		{channel, ``, []string{"Phx-Action", "disconnect"}, "bad Phx-Action"},
		{channel, `{`, []string{"Phx-Ref", "1", "Phx-Status", "ok"}, "not JSON"},
		{channel, ``, []string{"Phx-Ref", "1", "Phx-Status", "\xff"}, "bad Phx-Status"},
		{channel, ``, []string{"Phx-Ref", "1", "Phx-Status", "ok", "Phx-Assigns", "[]"}, "bad Phx-Assigns"},
		{channel + "9", `{}`, event("m"), "no such channel"},
		{channel[:len(channel)-1] + "x", `{}`, event("m"), "no such channel"},
		{channel + ".1", `{}`, event("m"), "bad id in subject"},
		{v1Channel, "\xff", []string{"Phx-Event", "m", "Phx-Encoding", "binary"}, "binary for a V1 client"},
		{"phx.socket.user=3A1", `{}`, event("m"), "no Phx-Event, no reply, no Phx-Action"},
		{"phx.socket.user=3A1", ``, []string{"Phx-Action", "close"}, "no Phx-Event, no reply, no Phx-Action"},
		{"phx.socket.user=3A1", ``, []string{"Phx-Action", "leave"}, "bad Phx-Topic"},
		{"phx.socket.user=3a1", ``, []string{"Phx-Action", "disconnect"}, "bad id in subject"},
	} {
		before := g.dropped(t)
		b.publish(test.subject, test.body, test.headers...)
		wantReport(t, told, test.subject, test.reason)
		if n := g.dropped(t) - before; n != 1 {
			t.Errorf("%s on %s: counted %v times", test.reason, test.subject, n)
		}
	}
	v2.Heartbeat()
	v1.Heartbeat()
	nothing(t, told, 50*time.Millisecond)
}

// An answer that comes to nothing is told with the subject of the event that it answers.
func TestDroppedAnswers(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels: [{topic: "*", join: allow, events: [{event: slow, do: call, timeout: 100ms}, {event: "*", do: call}]}]`, "GATEWAY_ID=g1")
	told, events := b.listen("phx.dropped"), b.listen("phx.event.>")
	v2, v1 := g.dial(t), g.dialV1(t)
	v2.Join("room:1", struct{}{})
	v1.Join("room:1", struct{}{})
	const ask = "phx.event.ask.room.1"
	for _, test := range []struct {
		client  *phxtest.Client
		body    string
		headers []string
		reason  string
	}{
		{v2, "\"\xff\"", nil, "not UTF-8"},
		{v2, `pong`, nil, "not JSON"},
		{v2, `{}`, []string{"Phx-Status", "\xff"}, "bad Phx-Status"},
		{v2, `{}`, []string{"Phx-Action", "disconnect"}, "bad Phx-Action"},
		{v2, `{}`, []string{"Phx-Encoding", "gzip"}, "bad Phx-Encoding"},
		{v2, `{}`, []string{"Phx-Assigns", "admin"}, "bad Phx-Assigns"},
		{v2, "\xff", []string{"Phx-Encoding", "binary", "Phx-Status", strings.Repeat("s", 256)}, "binary with a ref or status of more than 255 bytes"},
		{v1, "\xff", []string{"Phx-Encoding", "binary"}, "binary for a V1 client"},
	} {
		before := g.dropped(t)
		ref := test.client.Push("room:1", "ask", struct{}{})
		reply(next(t, events), test.body, test.headers...)
		wantError(t, test.client, ref, "bad reply")
		wantReport(t, told, ask, test.reason)
		if n := g.dropped(t) - before; n != 1 {
			t.Errorf("%s: counted %v times", test.reason, n)
		}
	}

	// Twice: the first holds.
	before := g.dropped(t)
	ref := v2.Push("room:1", "ask", struct{}{})
	msg := next(t, events)
	reply(msg, `{"n":1}`)
	reply(msg, `{"n":2}`, "Phx-Action", "close", "Phx-Assigns", `{"second":true}`)
	v2.Want(`["1","` + ref + `","room:1","phx_reply",{"status":"ok","response":{"n":1}}]`)
	wantReport(t, told, ask, "second answer")
	// Too late, with all it orders.
	ref = v2.Push("room:1", "slow", struct{}{})
	msg = next(t, events)
	wantHeaders(t, msg, "Phx-Assigns", "{}")
	wantError(t, v2, ref, "timeout")
	reply(msg, `{}`, "Phx-Action", "close", "Phx-Assigns", `{"late":true}`)
	wantReport(t, told, "phx.event.slow.room.1", "late answer")
	// To a request that never was.
	inbox := msg.Reply[:strings.LastIndex(msg.Reply, ".")+1] + "zzzzzz"
	b.publish(inbox, `{}`)
	wantReport(t, told, inbox, "answer to nothing")
	if n := g.dropped(t) - before; n != 3 {
		t.Errorf("three answers to nothing were counted as %v", n)
	}

	// Assigns that outgrow the header end the channel.
	ref = v2.Push("room:1", "ask", struct{}{})
	msg = next(t, events)
	wantHeaders(t, msg, "Phx-Assigns", "{}")
	reply(msg, `{}`, "Phx-Assigns", `{"a":"`+strings.Repeat("x", 16<<10)+`"}`)
	v2.WantEvent("room:1", "phx_error", `{"$type":"object"}`)
	wantReport(t, told, ask, "assigns are larger than 16 KiB")
	_ = ref // it is not answered: phoenix.js fails what waits when the channel errs
}

// An answer of the authz service that makes no sense is told with what is wrong in it, and nothing of what it says.
func TestDroppedAuthzReplies(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "CONNECT_AUTH=authz", "GATEWAY_ID=g1")
	told := b.listen("phx.dropped")
	connects, joins := make(chan string, 1), make(chan string, 1)
	b.serve("phx.authz.connect", func(msg *natsMsg) { reply(msg, <-connects) })
	b.serve("phx.authz.join", func(msg *natsMsg) { reply(msg, <-joins) })
	connects <- `{"allow":"secret"}`
	phxtest.WantRefused(t, g.url("vsn=2.0.0"), 503)
	wantReport(t, told, "phx.authz.connect", "bad authz reply: allow is not a boolean")
	connects <- `{"allow":true}`
	c := g.dial(t)
	for _, test := range []struct{ reply, reason string }{
		{`{"status":"fine"}`, "status is neither ok nor error"},
		{`{}`, "status is missing"},
		{`secret`, "not JSON"},
		{`{"status":"ok","expires_at":"secret"}`, "expires_at is not a number"},
		{`{"status":"ok","assigns":{"a":"` + strings.Repeat("x", 16<<10) + `"}}`, "assigns are larger than 16 KiB"},
	} {
		joins <- test.reply
		wantError(t, c, c.StartJoin("room:1", struct{}{}), "authorization unavailable")
		var said struct{ Subject, Reason, Gateway string }
		if err := json.Unmarshal(next(t, told).Data, &said); err != nil {
			t.Fatal(err)
		}
		if said.Subject != "phx.authz.join" || !strings.HasPrefix(said.Reason, "bad authz reply: ") || !strings.Contains(said.Reason, test.reason) || strings.Contains(said.Reason, "secret") {
			t.Errorf("%.60s: told %+v, want %q", test.reply, said, test.reason)
		}
	}
}
