package contracttest

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

type natsSub = nats.Subscription

// param is a param of a connect or join request.
func param(request []byte, name string) string {
	var r struct{ Params map[string]any }
	if json.Unmarshal(request, &r) != nil {
		return ""
	}
	value, _ := r.Params[name].(string)
	return value
}

// Exactly one left for each joined, with the same headers and the reason.
func TestJoinedAndLeft(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		reason string
		name   string
		end    func(g *gateway, b *backend, c *phxtest.Client, channel string)
	}{
		{"left", "leave", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) {
			c.SendText(`["1","9","room:é","phx_leave",{}]`)
		}},
		{"rejoined", "join again", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) {
			c.StartJoin("room:é", map[string]string{"deny": "yes"})
		}},
		{"closed", "close", func(_ *gateway, b *backend, _ *phxtest.Client, channel string) {
			b.publish("phx.channel."+channel, ``, "Phx-Action", "close")
		}},
		{"closed", "close by a reply", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) {
			c.Push("room:é", "close", struct{}{})
		}},
		{"crashed", "crash", func(_ *gateway, b *backend, _ *phxtest.Client, channel string) {
			b.publish("phx.channel."+channel, ``, "Phx-Action", "crash")
		}},
		{"crashed", "crash by a reply", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) {
			c.Push("room:é", "crash", struct{}{})
		}},
		{"disconnected", "drop", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) { c.Drop() }},
		{"disconnected", "reset", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) { c.Kill() }},
		{"disconnected", "close frame", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) { c.SendClose(1000) }},
		{"disconnected", "malformed", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) { c.SendText("{") }},
		{"disconnected", "disconnect", func(_ *gateway, b *backend, _ *phxtest.Client, _ string) {
			b.publish("phx.socket.user=3A1", ``, "Phx-Action", "disconnect")
		}},
		{"kicked", "leave action", func(_ *gateway, b *backend, _ *phxtest.Client, _ string) {
			b.publish("phx.socket.user=3A1", ``, "Phx-Action", "leave", "Phx-Topic", "room:=C3=A9")
		}},
		{"expired", "expiry", func(_ *gateway, _ *backend, c *phxtest.Client, _ string) {
			c.WantUntil(`["1","1","room:é","phx_error",{"$type":"object"}]`)
		}},
		{"drained", "SIGTERM", func(g *gateway, _ *backend, _ *phxtest.Client, _ string) { g.signal(syscall.SIGTERM) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g, b := setup(t, `channels: [{topic: "*", events: [{event: "*", do: call}]}]`, "CONNECT_AUTH=authz")
			b.answer("phx.authz.connect", `{"allow":true,"id":"user:1","assigns":{"n":1}}`)
			b.serve("phx.authz.join", func(msg *natsMsg) {
				switch {
				case param(msg.Data, "deny") != "":
					reply(msg, `{"status":"error"}`)
				case test.reason == "expired":
					reply(msg, fmt.Sprintf(`{"status":"ok","assigns":{"role":"é"},"expires_at":%d}`, time.Now().Unix()+2))
				default:
					reply(msg, `{"status":"ok","assigns":{"role":"é"}}`)
				}
			})
			b.answer("phx.event.close.>", ``, "Phx-Action", "close")
			b.answer("phx.event.crash.>", ``, "Phx-Action", "crash")
			joined, left := b.listen("phx.joined.>"), b.listen("phx.left.>")
			c := g.dial(t)
			c.SendText(`["1","1","room:é","phx_join",{"since": 1.0,"x":[]}]`)
			c.WantReply("1", "ok")
			j := next(t, joined)
			if string(j.Data) != `{"since": 1.0,"x":[]}` {
				t.Errorf("joined: body %s, want the join params", j.Data)
			}
			channel := j.Header.Get("Phx-Channel")
			headers := []string{"Phx-Topic", "room:=C3=A9", "Phx-Channel", channel, "Phx-Socket-Id", "user:1"}
			wantHeaders(t, j, headers...)
			wantJSON(t, "Phx-Assigns", []byte(j.Header.Get("Phx-Assigns")), `{"n":1,"role":"é"}`)
			test.end(g, b, c, channel)
			l := next(t, left)
			if l.Subject != "phx.left.room.=C3=A9" || string(l.Data) != `{"reason":"`+test.reason+`"}` {
				t.Errorf("%s %s, want reason %s", l.Subject, l.Data, test.reason)
			}
			wantHeaders(t, l, append(headers, "Phx-Assigns", j.Header.Get("Phx-Assigns"))...)
			if test.reason != "drained" {
				// A second one would come before what ends the next channel.
				other := g.dial(t)
				other.Join("mark", struct{}{})
				other.Drop()
				if msg := next(t, left); msg.Subject != "phx.left.mark" {
					t.Errorf("another %s %s", msg.Subject, msg.Data)
				}
			}
			if n, _, _ := joined.Pending(); n > 1 {
				t.Errorf("%d more joined", n)
			}
		})
	}
}
