package contracttest

import (
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

func TestChannelMessages(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	joined := b.listen("phx.joined.>")
	one, two, v1 := g.dial(t, phxtest.Name("one")), g.dial(t, phxtest.Name("two")), g.dialV1(t, phxtest.Name("v1"))
	one.Join("room:1", struct{}{})
	subject := "phx.channel." + next(t, joined).Header.Get("Phx-Channel")
	two.Join("room:1", struct{}{})
	next(t, joined)
	v1.Join("room:1", struct{}{})
	v1Subject := "phx.channel." + next(t, joined).Header.Get("Phx-Channel")

	b.publish(subject, `{"n":1}`, "Phx-Event", "=C3=A9")
	one.Want(`["1",null,"room:1","é",{"n":1}]`)
	b.publish(subject, "\xff", "Phx-Event", "bin", "Phx-Encoding", "binary")
	one.WantBinary([]byte("\x00\x01\x06\x031room:1bin\xff"))
	b.publish(v1Subject, `{"n":1}`, "Phx-Event", "m")
	v1.Want(`{"topic":"room:1","event":"m","payload":{"n":1},"ref":null}`)
	before := g.dropped(t)
	b.publish(v1Subject, "\xff", "Phx-Event", "bin", "Phx-Encoding", "binary")
	g.waitForDropped(t, before)

	b.publish(subject, ``, "Phx-Action", "close")
	one.Want(`["1","1","room:1","phx_close",{}]`)
	b.publish(v1Subject, ``, "Phx-Action", "crash")
	v1.WantEvent("room:1", "phx_error", `{"reason":"channel_crash"}`)
	for _, c := range []*phxtest.Client{one, v1} {
		wantError(t, c, c.Push("room:1", "ask", struct{}{}), "unmatched topic")
	}
	two.Heartbeat()
	b.publish("phx.topic.room.1", `{}`, "Phx-Event", "mark")
	two.Want(`[null,null,"room:1","mark",{}]`) // the first after the heartbeat's reply
	one.Join("room:1", struct{}{})
}

// serveIDs lets every socket in; its id is the param uid, none without one.
func serveIDs(b *backend) {
	b.serve("phx.authz.connect", func(msg *natsMsg) {
		if uid := param(msg.Data, "uid"); uid != "" {
			reply(msg, `{"allow":true,"id":"`+uid+`"}`)
			return
		}
		reply(msg, `{"allow":true}`)
	})
}

func TestSocketMessages(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b := connectBackend(t, url)
	serveIDs(b)
	g1 := startGateway(t, url, everything, "CONNECT_AUTH=authz")
	g2 := startGateway(t, url, everything, "CONNECT_AUTH=authz")
	for _, test := range []struct {
		name, id, token string
		headers         []string
	}{
		{"action", "user:1", "user=3A1", []string{"Phx-Action", "disconnect"}},
		{"event", "user.2*", "user=2E2=2A", []string{"Phx-Event", "disconnect"}},
		{"unicode", "é", "=C3=A9", []string{"Phx-Action", "disconnect"}},
	} {
		open := func(g *gateway, id, query string) *phxtest.Client {
			t.Helper()
			return phxtest.Dial(t, g.url("uid="+id+"&"+query), phxtest.Name(test.name+" "+id))
		}
		a := open(g1, test.id, "vsn=2.0.0")
		c := open(g2, test.id, "vsn=1.0.0")
		other := open(g1, test.id+"0", "vsn=2.0.0")
		anonymous := open(g1, "", "vsn=2.0.0")
		all := []*phxtest.Client{a, c, other, anonymous}
		for _, client := range all {
			client.Join("room:1", struct{}{})
			client.Join("room:é", struct{}{})
		}
		left := b.listen("phx.left.>")
		b.publish("phx.socket."+test.token, ``, "Phx-Action", "leave", "Phx-Topic", "room:=C3=A9")
		a.Want(`["2","2","room:é","phx_close",{}]`)
		c.WantEvent("room:é", "phx_close", `{}`)
		for range 2 {
			if msg := next(t, left); msg.Subject != "phx.left.room.=C3=A9" || string(msg.Data) != `{"reason":"kicked"}` {
				t.Errorf("%s: %s %s, want kicked", test.name, msg.Subject, msg.Data)
			}
		}
		// What is no disconnect is ignored, as by Phoenix.
		b.publish("phx.socket."+test.token, `{}`, "Phx-Event", "other")
		b.publish("phx.topic.room.1", `{}`, "Phx-Event", "mark")
		for _, client := range all {
			client.WantEvent("room:1", "mark", `{}`)
		}
		b.publish("phx.socket."+test.token, ``, test.headers...)
		a.WantClosed(1001)
		c.WantClosed(1001)
		a.WantEnded()
		c.WantEnded()
		other.Heartbeat()
		anonymous.Heartbeat()
		other.Drop()
		anonymous.Drop()
		for range 6 { // room:1 of a and c, and both rooms of the two others
			next(t, left)
		}
	}
}

// No client can cause a message on a channel's or a socket's subject.
func TestClientsReachNoSubject(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	channels, sockets := b.listen("phx.channel.>"), b.listen("phx.socket.>")
	events := b.listen("phx.event.>")
	c := g.dial(t)
	for _, topic := range []string{"channel", "socket:user", "..:*:>", ".channel.x", "phx.socket.x", "room.1:>"} {
		c.Join(topic, struct{}{})
		for _, name := range []string{"disconnect", "x.channel", ".", "*", ">", "a b"} {
			ref := c.Push(topic, name, struct{}{})
			msg := next(t, events)
			if msg.Header.Get("Phx-Topic") == "" {
				t.Errorf("%s %s: no Phx-Topic", topic, name)
			}
			reply(msg, ``)
			c.WantReply(ref, "ok")
		}
	}
	b.flush()
	for _, sub := range []*natsSub{channels, sockets} {
		if n, _, err := sub.Pending(); n != 0 || err != nil {
			t.Errorf("%d messages on %s (%v)", n, sub.Subject, err)
		}
	}
}
