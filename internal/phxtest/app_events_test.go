package phxtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// heard is everything that the app published, replies included, in order: one
// subscription sees what the gateway's one reader sees.
func heard(t *testing.T, nc *nats.Conn) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(testPrefix + ".>")
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// wantHeard wants the next message that is not our own request.
func wantHeard(t *testing.T, sub *nats.Subscription, want string) {
	t.Helper()
	for {
		msg, err := sub.NextMsg(Patience())
		if err != nil {
			t.Fatalf("want %s: %v", want, err)
		}
		subject := strings.TrimPrefix(msg.Subject, testPrefix+".")
		if strings.HasPrefix(subject, "event.") || strings.HasPrefix(subject, "joined.") {
			continue
		}
		var headers []string
		for _, name := range []string{"Phx-Event", "Phx-From", "Phx-Ref", "Phx-Status", "Phx-Action", "Phx-Encoding"} {
			if value := msg.Header.Get(name); value != "" {
				headers = append(headers, name+":"+value)
			}
		}
		if got := fmt.Sprintf("%s %v %s", subject, headers, msg.Data); got != want {
			t.Errorf("heard %q\nwant  %q", got, want)
		}
		return
	}
}

func TestAppPublishes(t *testing.T) {
	_, nc := startTestApp(t)
	sub := heard(t, nc)
	send := func(subject, body string, headers ...string) {
		t.Helper()
		msg := nats.NewMsg(testPrefix + "." + subject)
		msg.Reply = testPrefix + ".reply"
		msg.Data = []byte(body)
		for i := 0; i < len(headers); i += 2 {
			msg.Header.Set(headers[i], headers[i+1])
		}
		if err := nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	topic := TopicTokens("room:żółw🦆:b")
	do := func(name, body string, more ...string) {
		t.Helper()
		send("event."+name+"."+topic, body, append([]string{"Phx-Event", name, "Phx-Channel", "g.s.1"}, more...)...)
	}

	do("shout", `{"n":1}`)
	wantHeard(t, sub, "topic."+topic+` [Phx-Event:shout] {"n":1}`)
	wantHeard(t, sub, "reply [] ")
	do("shout_others", "\x01", "Phx-Encoding", "binary")
	wantHeard(t, sub, "topic."+topic+" [Phx-Event:shout Phx-From:g.s.1 Phx-Encoding:binary] \x01")
	wantHeard(t, sub, "reply [] ")
	do("push", `{"n":2}`)
	wantHeard(t, sub, `channel.g.s.1 [Phx-Event:pushed] {"n":2}`)
	wantHeard(t, sub, "reply [] ")
	do("kick", `{"id":"user_socket:7"}`)
	wantHeard(t, sub, "socket.user_socket=3A7 [Phx-Action:disconnect] ")
	wantHeard(t, sub, "reply [Phx-Status:none] ")

	// A late reply comes behind what is answered meanwhile; without a ref there
	// is none.
	do("later", `{"ms":30}`, "Phx-Ref", "5")
	wantHeard(t, sub, "reply [Phx-Status:none] ")
	do("later", `{"ms":0}`)
	wantHeard(t, sub, "reply [Phx-Status:none] ")
	wantHeard(t, sub, "channel.g.s.1 [Phx-Ref:5 Phx-Status:ok] {}")

	send("joined."+topic, `{"greet":true,"announce":true}`, "Phx-Channel", "g.s.2")
	wantHeard(t, sub, `channel.g.s.2 [Phx-Event:greeting] {"hello":true}`)
	wantHeard(t, sub, "topic."+topic+" [Phx-Event:entered] {}")
	send("joined."+topic, `"text"`, "Phx-Channel", "g.s.2")
	do("ok", `{}`)
	wantHeard(t, sub, "reply [] ")
}

// What the app says of many events keeps the events' order.
func TestAppOrder(t *testing.T) {
	_, nc := startTestApp(t)
	sub := heard(t, nc)
	const n = 200
	for i := range n {
		msg := nats.NewMsg(testPrefix + ".event.shout.room.a")
		msg.Header.Set("Phx-Event", "shout")
		msg.Header.Set("Phx-Channel", "g.s.1")
		msg.Data = fmt.Appendf(nil, `{"n":%d}`, i)
		if err := nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		wantHeard(t, sub, fmt.Sprintf(`topic.room.a [Phx-Event:shout] {"n":%d}`, i))
	}
}

// The presence events order a change as a backend does, and are answered
// whatever came of it.
func TestAppPresence(t *testing.T) {
	_, nc := startTestApp(t)
	answered := event(t, nc, "track", `{"key":"ann","meta":{}}`) // nobody serves
	if answered.Header.Get("Phx-Status") != "" || len(answered.Data) != 0 {
		t.Errorf("without a service: %v %s", answered.Header, answered.Data)
	}
	orders, err := nc.SubscribeSync(testPrefix + ".presence.update.>")
	if err != nil {
		t.Fatal(err)
	}
	replies, err := nc.SubscribeSync("replies")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ event, body, want string }{
		{"track", `{"key":"ann","meta":{"x":1}}`, `{"channel":"g.s.1","op":"track","key":"ann","meta":{"x":1}}`},
		{"update", `{"key":"","meta":{}}`, `{"channel":"g.s.1","op":"update","key":"","meta":{}}`},
		{"untrack", `{"key":"ghost"}`, `{"channel":"g.s.1","op":"untrack","key":"ghost"}`},
	} {
		msg := nats.NewMsg(testPrefix + ".event." + test.event + ".room.a")
		msg.Reply, msg.Data = "replies", []byte(test.body)
		msg.Header.Set("Phx-Event", test.event)
		msg.Header.Set("Phx-Channel", "g.s.1")
		if err := nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
		order, err := orders.NextMsg(Patience())
		if err != nil {
			t.Fatalf("%s: %v", test.event, err)
		}
		if want := testPrefix + ".presence.update.room.a"; order.Subject != want {
			t.Errorf("%s: ordered on %s, want %s", test.event, order.Subject, want)
		}
		wantMatch(t, test.event, test.want, order.Data)
		if err := order.Respond([]byte(`{"status":"error","reason":"not tracked"}`)); err != nil {
			t.Fatal(err)
		}
		reply, err := replies.NextMsg(Patience())
		if err != nil {
			t.Fatalf("%s: no answer: %v", test.event, err)
		}
		if reply.Header.Get("Phx-Status") != "" || len(reply.Data) != 0 {
			t.Errorf("%s: answered %v %s", test.event, reply.Header, reply.Data)
		}
	}
}
