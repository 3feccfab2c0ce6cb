package contracttest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// interceptRules are Phoenix's intercept and handle_out: who blocked the sender hears nothing of him, and what is for the staff is trimmed for the others.
const interceptRules = `channels:
  - topic: "room:*"
    deliver: >
      event == "new_msg" ? !(payload.user_id in assigns.?blocked.orValue([]))
      : event == "report" ? (assigns.role == "staff" ? payload : {"n": payload.n})
      : true
    events:
      - {event: new_msg, do: broadcast}
      - {event: typing, do: broadcast_from}
      - {event: "*", do: call}
`

func TestDeliver(t *testing.T) {
	t.Parallel()
	g, b := setup(t, interceptRules)
	b.serve("phx.authz.join", func(msg *natsMsg) {
		reply(msg, fmt.Sprintf(`{"status":"ok","assigns":%s}`, param(msg.Data, "assigns")))
	})
	b.answer("phx.event.unblock.>", ``, "Phx-Assigns", `{"blocked":[]}`)
	join := func(c *phxtest.Client, assigns string) *phxtest.Client {
		c.Join("room:1", map[string]string{"assigns": assigns})
		return c
	}
	staff := join(g.dial(t), `{"role":"staff"}`)
	shy := join(g.dial(t), `{"role":"guest","blocked":[6,7]}`)
	old := join(g.dialV1(t), `{"role":"guest","blocked":[]}`)
	// A client's broadcast and a backend's.
	staff.Push("room:1", "new_msg", map[string]any{"user_id": 7, "body": "a"})
	for _, c := range []*phxtest.Client{staff, old} {
		c.WantEvent("room:1", "new_msg", `{"user_id":7,"body":"a"}`)
	}
	b.publish("phx.topic.room.1", `{"user_id":8,"n":1.0}`, "Phx-Event", "new_msg")
	for _, c := range []*phxtest.Client{staff, shy, old} {
		c.WantEvent("room:1", "new_msg", `{"user_id":8,"n":1.0}`) // the first of all for shy
	}
	// Trimmed for some; the others get the bytes that came.
	b.publish("phx.topic.room.1", `{"n":1,"secret":"\u0041"}`, "Phx-Event", "report")
	staff.WantEvent("room:1", "report", `{"n":1,"secret":"\u0041"}`)
	for _, c := range []*phxtest.Client{shy, old} {
		c.WantEvent("room:1", "report", `{"n":1}`)
	}
	// Neither the sender of a broadcast_from, nor who asked by Phx-From.
	staff.Push("room:1", "typing", map[string]any{})
	for _, c := range []*phxtest.Client{shy, old} {
		c.WantEvent("room:1", "typing", `{}`)
	}
	// A reply's assigns count from then on.
	shy.WantReply(shy.Push("room:1", "unblock", struct{}{}), "ok")
	b.publish("phx.topic.room.1", `{"user_id":7}`, "Phx-Event", "new_msg")
	for _, c := range []*phxtest.Client{staff, shy, old} {
		c.WantEvent("room:1", "new_msg", `{"user_id":7}`)
	}
	// Binary passes as bytes, and to no V1 socket.
	b.publish("phx.topic.room.1", "\x00\xff", "Phx-Event", "bin", "Phx-Encoding", "binary")
	for _, c := range []*phxtest.Client{staff, shy} {
		c.WantBinary([]byte("\x02\x06\x03room:1bin\x00\xff"))
	}
	// An expression that fails withholds, and is counted.
	before := g.dropped(t)
	b.publish("phx.topic.room.1", `{"body":"whose?"}`, "Phx-Event", "new_msg")
	g.waitForDropped(t, before)
	b.publish("phx.topic.room.1", `{}`, "Phx-Event", "mark")
	for _, c := range []*phxtest.Client{staff, shy, old} {
		c.WantEvent("room:1", "mark", `{}`)
	}
	if log := g.stderr.String(); strings.Contains(log, "whose?") || !strings.Contains(log, "no such key") {
		t.Error("the log holds a payload, or not why the broadcast was withheld")
	}
	for _, outcome := range []string{"delivered", "replaced", "withheld", "failed"} {
		if g.count(t, `phxgate_deliver_decisions_total{outcome="`+outcome+`"}`) == 0 {
			t.Errorf("no decision counted as %s", outcome)
		}
	}
}

const conditionRules = `channels:
  - topic: "room:*"
    join: 'topic in claims.rooms || claims.?role.orValue("") == "staff"'
    presence: {key: claims.sub}
    events: [{event: "*", do: broadcast}]
  - topic: "door:*"
    join: 'params.password == "sesame" && socket.transport == "websocket" && socket.peer == "127.0.0.1"'
`

// A small user needs no authz service: the token's claims say which rooms.
func TestJoinCondition(t *testing.T) {
	t.Parallel()
	g, b := setup(t, conditionRules, "CONNECT_AUTH=jwt", "JWT_SECRET="+jwtSecret)
	asked := b.listen("phx.authz.>")
	as := func(claims string) *phxtest.Client {
		token := hs256(t, fmt.Sprintf(`{"exp":%d,%s}`, time.Now().Unix()+600, claims))
		return phxtest.Dial(t, g.url("vsn=2.0.0&token="+url.QueryEscape(token)))
	}
	ann, staff, nobody := as(`"sub":"ann","rooms":["room:a"]`), as(`"sub":"joe","rooms":[],"role":"staff"`), as(`"sub":"eve"`)
	ann.Join("room:a", struct{}{})
	wantError(t, ann, ann.StartJoin("room:b", struct{}{}), "unauthorized")
	staff.Join("room:b", struct{}{})
	wantError(t, nobody, nobody.StartJoin("room:a", struct{}{}), "unauthorized") // no such key
	nobody.Join("door:1", map[string]string{"password": "sesame"})
	for _, params := range []any{map[string]string{"password": "x"}, map[string]any{"password": true}, struct{}{}, nil, []int{1}, strings.Repeat("x", 64<<10)} {
		wantError(t, nobody, nobody.StartJoin("door:2", params), "unauthorized")
	}
	if log := g.stderr.String(); strings.Contains(log, "sesame") || !strings.Contains(log, "the rule's condition failed") {
		t.Error("the log holds params, or not why a join was refused")
	}
	nothing(t, asked, 50*time.Millisecond)
}
