package contracttest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const liveRules = `channels:
  - topic: "room:*"
    events:
      - {event: access_token, do: reauthorize}
      - {event: quiet_token, do: reauthorize, reply: false}
      - {event: "*", do: call}
  - topic: "kept:*"
    on_gap: ignore
  - topic: "code:*"
    join: 'params.code == "x"'
    events: [{event: code, do: reauthorize}]
`

// liveAuthz decides joins by the param token: those of refused are refused, those of silent are not answered, all others get the assigns {"token": …}. It keeps the requests of channels that are
// joined.
type liveAuthz struct {
	mu       sync.Mutex
	refused  map[string]bool
	silent   map[string]bool
	expires  map[string]int64
	requests []string
}

func (a *liveAuthz) decide(body []byte) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := param(body, "token")
	if strings.Contains(string(body), `"reauthorize":true`) || strings.Contains(string(body), `"recheck":true`) {
		a.requests = append(a.requests, string(body))
	}
	switch {
	case a.silent[token]:
		return ""
	case a.refused[token]:
		return `{"status":"error","response":{"reason":"revoked"}}`
	case a.expires[token] != 0:
		return fmt.Sprintf(`{"status":"ok","assigns":{"token":%q},"expires_at":%d}`, token, a.expires[token])
	}
	return fmt.Sprintf(`{"status":"ok","response":{"token":%q},"assigns":{"token":%q},"events":["access_token","quiet_token","ask"],"presence":{"key":%q}}`, token, token, token)
}

// refuse refuses what has this token from now on.
func (a *liveAuthz) refuse(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[token] = true
}

// expire ends what is granted to this token at a time, in unix seconds.
func (a *liveAuthz) expire(token string, at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expires[token] = at
}

// take returns the requests about joined channels since the last take.
func (a *liveAuthz) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.requests
	a.requests = nil
	return taken
}

func serveLive(b *backend) *liveAuthz {
	a := &liveAuthz{refused: map[string]bool{"bad": true}, silent: map[string]bool{"silent": true}, expires: map[string]int64{}}
	b.serve("phx.authz.join", func(msg *natsMsg) {
		if answer := a.decide(msg.Data); answer != "" {
			reply(msg, answer)
		}
	})
	return a
}

type tokenParams map[string]string

// A client renews its token on a live channel: what the join granted is replaced.
func TestReauthorize(t *testing.T) {
	t.Parallel()
	g, b := setup(t, liveRules, "AUTHZ_TIMEOUT=500ms")
	authz := serveLive(b)
	b.serve("phx.event.>", func(msg *natsMsg) { reply(msg, msg.Header.Get("Phx-Assigns"), "Phx-Assigns", `{"calls":1}`) })
	joined, left := b.listen("phx.joined.>"), b.listen("phx.left.>")
	c := g.dial(t)
	c.Join("room:1", map[string]string{"token": "a", "name": "Ann"})
	channel := next(t, joined).Header.Get("Phx-Channel")
	c.Call("room:1", "ask", struct{}{}, "ok")

	// The payload goes over the join's params; the reply is the decision's response; the event behind it is under the new assigns, those of backends stay.
	ref := c.Push("room:1", "access_token", tokenParams{"token": "b"})
	ask := c.Push("room:1", "ask", struct{}{})
	wantJSON(t, "reply", c.WantReply(ref, "ok").Payload, `{"token":"b"}`)
	wantJSON(t, "assigns", c.WantReply(ask, "ok").Payload, `{"token":"b","calls":1}`)
	requests := authz.take()
	if len(requests) != 1 {
		t.Fatalf("asked %q, want once", requests)
	}
	wantJSON(t, "request", []byte(requests[0]), `{"topic":"room:1","params":{"token":"b","name":"Ann"},"channel":"`+channel+`",
		"socket":{"id":null,"assigns":{},"transport":"websocket","peer":"127.0.0.1"},"reauthorize":true}`)

	// Without a decision all stays as it was.
	wantError(t, c, c.Push("room:1", "access_token", tokenParams{"token": "silent"}), "authorization unavailable")
	wantError(t, c, c.Push("room:1", "access_token", []int{1}), "invalid payload")
	wantJSON(t, "assigns", c.Call("room:1", "ask", struct{}{}, "ok"), `{"token":"b","calls":1}`)

	// reply: false, and the next renewal builds on this one.
	ref = c.Push("room:1", "quiet_token", tokenParams{"token": "c", "more": "x"})
	wantJSON(t, "assigns", c.WantReply(c.Push("room:1", "ask", struct{}{}), "ok").Payload, `{"token":"c","calls":1}`)
	if strings.Contains(c.Log().String(), `"`+ref+`","room:1","phx_reply"`) {
		t.Error("an accepted event with reply: false was answered")
	}
	authz.take()

	// Refused: the client is told why, the channel closes for good, and nothing more of its topic comes.
	ref = c.Push("room:1", "quiet_token", tokenParams{"token": "bad"})
	c.Push("room:1", "ask", struct{}{}) // waits behind it, and goes with the channel
	wantError(t, c, ref, "revoked")
	m := c.WantEvent("room:1", "phx_close", `{}`)
	if m.JoinRef != "1" || m.Ref != "1" {
		t.Errorf("phx_close with refs %v and %v", m.JoinRef, m.Ref)
	}
	if got := authz.take(); len(got) != 1 || !strings.Contains(got[0], `"more":"x"`) {
		t.Errorf("asked %q, want the params of the renewal before", got)
	}
	if msg := next(t, left); string(msg.Data) != `{"reason":"kicked"}` {
		t.Errorf("left: %s", msg.Data)
	}
	b.publish("phx.topic.room.1", `{}`, "Phx-Event", "secret")
	b.flush()
	c.Join("room:2", tokenParams{"token": "a"})
	c.WantNothing(phxtest.Scaled(100 * time.Millisecond))
}

// A renewal moves the channel's end.
func TestReauthorizeExpiry(t *testing.T) {
	t.Parallel()
	g, b := setup(t, liveRules)
	authz := serveLive(b)
	soon := time.Now().Unix() + 3
	authz.expire("short", soon)
	c := g.dial(t)
	c.Join("room:kept", tokenParams{"token": "short"})
	c.Join("room:gone", tokenParams{"token": "short"})
	c.Call("room:kept", "access_token", tokenParams{"token": "long"}, "ok")
	c.WantEvent("room:gone", "phx_error", `{"$type":"object"}`)
	waitFor(t, "the old end of the renewed channel", func() bool { return time.Now().Unix() > soon+1 })
	c.WantNothing(phxtest.Scaled(50 * time.Millisecond))
	authz.expire("short", time.Now().Unix()+2)
	c.Call("room:kept", "access_token", tokenParams{"token": "short"}, "ok")
	c.WantEvent("room:kept", "phx_error", `{"$type":"object"}`)
}

// An expression that decided about the join decides again, by itself.
func TestReauthorizeByExpression(t *testing.T) {
	t.Parallel()
	g, b := setup(t, liveRules)
	asked := b.listen("phx.authz.>")
	c := g.dial(t)
	wantError(t, c, c.StartJoin("code:1", map[string]string{"code": "y"}), "unauthorized")
	c.Join("code:1", map[string]string{"code": "x"})
	c.Call("code:1", "code", struct{}{}, "ok")
	wantError(t, c, c.Push("code:1", "code", map[string]string{"code": "y"}), "unauthorized")
	c.WantEvent("code:1", "phx_close", `{}`)
	if n, _, err := asked.Pending(); n != 0 || err != nil {
		t.Errorf("a service was asked %d times (%v)", n, err)
	}
}

// An order to ask again reaches the channels of a topic on every gateway, and those of every socket of an id. Who is refused is told, and gets nothing more.
func TestRecheck(t *testing.T) {
	t.Parallel()
	g, b := setup(t, liveRules, "CONNECT_AUTH=authz")
	startPresence(t, b.nc.ConnectedUrl())
	b.serve("phx.authz.connect", func(msg *natsMsg) { reply(msg, `{"allow":true,"id":"user:`+param(msg.Data, "id")+`"}`) })
	authz := serveLive(b)
	left := b.listen("phx.left.>")
	other := startGateway(t, b.nc.ConnectedUrl(), liveRules, "CONNECT_AUTH=authz")
	ann, bea := phxtest.Dial(t, g.url("vsn=2.0.0&id=ann")), phxtest.Dial(t, other.url("vsn=2.0.0&id=bea"))
	for c, name := range map[*phxtest.Client]string{ann: "ann", bea: "bea"} {
		for _, topic := range []string{"room:1", "room:2"} {
			c.Join(topic, tokenParams{"token": name + topic[len("room:"):]})
		}
	}
	watcher := phxtest.Dial(t, g.url("vsn=2.0.0&id=cid"))
	watcher.Join("room:1", tokenParams{"token": "cid1"})
	var roster phxtest.Roster
	watcher.WantRoster(&roster, "room:1", "ann1 bea1 cid1", 0)

	// All members are asked about; who is allowed notices nothing.
	b.publish("phx.authz.recheck.topic.room.1", ``)
	var requests []string
	waitFor(t, "all three members", func() bool { requests = append(requests, authz.take()...); return len(requests) == 3 })
	for _, request := range requests {
		if !strings.Contains(request, `"topic":"room:1"`) || !strings.Contains(request, `"recheck":true`) {
			t.Errorf("asked %s", request)
		}
	}
	b.publish("phx.topic.room.1", `{"n":1}`, "Phx-Event", "news")
	for _, c := range []*phxtest.Client{ann, bea} {
		c.WantUntil(`[null,null,"room:1","news",{"n":1}]`)
	}

	// One is revoked: phx_close, and not one broadcast behind it, whatever comes.
	authz.refuse("bea1")
	b.publish("phx.authz.recheck.topic.room.1", ``)
	b.publish("phx.authz.recheck.topic.room.1", ``)
	var sent int
	waitFor(t, "the end of the revoked channel", func() bool {
		sent++
		b.publish("phx.topic.room.1", fmt.Sprintf(`{"n":%d}`, sent), "Phx-Event", "flow")
		_, err := left.NextMsg(time.Millisecond)
		return err == nil
	})
	b.publish("phx.topic.room.1", `{"last":true}`, "Phx-Event", "flow")
	ann.WantUntil(`[null,null,"room:1","flow",{"last":true}]`)
	b.publish("phx.topic.room.2", `{}`, "Phx-Event", "end")
	bea.WantUntil(`[null,null,"room:2","end",{}]`)
	closed := false
	for line := range strings.Lines(bea.Log().String()) {
		if closed && strings.Contains(line, `"flow"`) {
			t.Errorf("behind phx_close: %s", line)
		}
		closed = closed || strings.Contains(line, `"room:1","phx_close",{}`)
	}
	if !closed {
		t.Error("the revoked channel was not told")
	}
	watcher.WantRoster(&roster, "room:1", "ann1 cid1", phxtest.Scaled(5*time.Second)) // its presence went with it
	authz.take()

	// By the socket's id: its other channel, and nobody else's.
	authz.refuse("bea2")
	b.publish("phx.authz.recheck.socket.user=3Abea", ``)
	bea.WantUntil(`[{"$type":"string"},{"$type":"string"},"room:2","phx_close",{}]`)
	if msg := next(t, left); msg.Subject != "phx.left.room.2" || string(msg.Data) != `{"reason":"kicked"}` {
		t.Errorf("%s %s", msg.Subject, msg.Data)
	}
	if got := authz.take(); len(got) != 1 || !strings.Contains(got[0], `"id":"user:bea"`) {
		t.Errorf("asked %q, want once about bea", got)
	}
	wantError(t, bea, bea.StartJoin("room:2", tokenParams{"token": "bea2"}), "revoked")
	if status, metrics := get("http://" + other.admin + "/metrics"); status != 200 || !strings.Contains(metrics, `phxgate_rechecks_total{outcome="refused"} 2`) {
		t.Errorf("metrics (%d) do not count two refused rechecks", status)
	}
}

// An order that came while NATS was away is made up for: what was decided by a service is asked about again.
func TestRecheckAfterReconnect(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 1)
	b := connectBackend(t, servers.URL(0))
	authz := serveLive(b)
	g := startGateway(t, servers.URL(0), liveRules)
	c := g.dial(t)
	c.Join("kept:1", tokenParams{"token": "a"})
	c.Join("kept:2", tokenParams{"token": "b"})
	servers.Stop(0)
	authz.refuse("b") // and whoever ordered a recheck was not heard
	servers.Restart(0)
	c.WantEvent("kept:2", "phx_close", `{}`)
	wantError(t, c, c.StartJoin("kept:2", tokenParams{"token": "b"}), "revoked")
	if requests := authz.take(); len(requests) < 2 {
		t.Errorf("asked %q, want about both channels", requests)
	}
}

// burst sends joins of topics in one piece, as a client that is back does, and wants each accepted.
func burst(t *testing.T, c *phxtest.Client, topics ...string) {
	t.Helper()
	var bytes []byte
	for i, topic := range topics {
		text := fmt.Sprintf(`["%s%d","%s%d",%q,"phx_join",{"token":%q}]`, topics[0], i, topics[0], i, topic, topic)
		bytes = append(bytes, ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))...)
	}
	c.SendRaw(bytes)
	for i, topic := range topics {
		wantJSON(t, topic, c.WantReply(fmt.Sprint(topics[0], i), "ok").Payload, fmt.Sprintf(`{"token":%q}`, topic))
	}
}

func topics(prefix string, n int) (topics []string) {
	for i := range n {
		topics = append(topics, fmt.Sprintf("room:%s%d", prefix, i))
	}
	return topics
}

// Joins that come together are one request to a service that answers phx.authz.joins.
func TestJoinsInOneRequest(t *testing.T) {
	t.Parallel()
	g, b := setup(t, liveRules)
	authz := serveLive(b)
	var mu sync.Mutex
	var batches []int
	b.serve("phx.authz.joins", func(msg *natsMsg) {
		var batch struct{ Joins []json.RawMessage }
		if err := json.Unmarshal(msg.Data, &batch); err != nil {
			t.Errorf("batch %s: %v", msg.Data, err)
		}
		mu.Lock()
		batches = append(batches, len(batch.Joins))
		mu.Unlock()
		answers := []string{}
		for _, join := range batch.Joins {
			answers = append(answers, authz.decide(join))
		}
		reply(msg, `{"joins":[`+strings.Join(answers, ",")+`]}`)
	})
	singles := b.listen("phx.authz.join")
	c := g.dial(t)
	n := 0
	waitFor(t, "the gateway knows that batches are answered", func() bool {
		burst(t, c, topics(fmt.Sprintf("try%d-", n), 2)...)
		n++
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(batches, 2)
	})
	b.flush()
	before, _, _ := singles.Pending()
	mu.Lock()
	batches = nil
	mu.Unlock()
	burst(t, g.dial(t), topics("a", 40)...)
	g.dial(t).Join("room:alone", tokenParams{"token": "x"})
	b.flush()
	after, _, _ := singles.Pending()
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(batches) != "[40]" || after-before != 1 {
		t.Errorf("40 joins and one: batches of %v and %d requests, want one of 40 and 1", batches, after-before)
	}
}

// A service that knows phx.authz.join alone is asked about each join, at once, even where somebody listens to everything.
func TestJoinsOneByOne(t *testing.T) {
	t.Parallel()
	g, b := setup(t, liveRules, "AUTHZ_TIMEOUT=1h")
	serveLive(b)
	all := b.listen("phx.authz.>")
	for _, prefix := range []string{"a", "b", "c"} {
		burst(t, g.dial(t), topics(prefix, 40)...)
	}
	b.flush()
	n, _, _ := all.Pending()
	seen := map[string]int{}
	for range n {
		seen[next(t, all).Subject]++
	}
	if seen["phx.authz.join"] != 120 || seen["phx.authz.joins"] != 1 {
		t.Errorf("requests %v, want 120 and one that asks whether batches are answered", seen)
	}
}
