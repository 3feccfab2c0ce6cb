package contracttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// presenceRules: room:* is as the authz service says, and the rest without it.
const presenceRules = `channels:
  - topic: "room:*"
    events:
      - {event: status, do: presence_update, fields: [status, typing]}
      - {event: loud, do: presence_update, fields: [status], reply: true}
  - topic: "lobby:*"
    join: allow
    presence: {key: params.user}
  - topic: "watch:*"
    join: allow
    presence: {}
  - topic: "hall:*"
    join: allow
    presence: {key: params.user, broadcast: count}
  - topic: "plain:*"
    join: allow
`

// gone is within which a presence must go when its gateway dies.
const gone = 5 * time.Second

// startPresence starts presence-svc and waits until it is ready.
func startPresence(t *testing.T, natsURL string, settings ...string) *gateway {
	t.Helper()
	s := &gateway{t: t, binary: presenceBinary, admin: freeAddress(t)}
	s.start(append([]string{"NATS_URL=" + natsURL}, settings...))
	s.waitForReady(http.StatusOK)
	return s
}

// mustLive fails if the process is gone.
func (g *gateway) mustLive(t *testing.T) {
	t.Helper()
	select {
	case <-g.ended:
		t.Fatalf("%s ended: %v\n%s", g.binary, g.cmd.ProcessState, g.stderr)
	default:
	}
}

// presenceSetup starts NATS, presence-svc, a backend that lets everybody in as the join params say, and gateways.
func presenceSetup(t *testing.T, gateways int, settings ...string) ([]*gateway, *backend, *gateway) {
	t.Helper()
	url := phxtest.StartNATS(t)
	b := connectBackend(t, url)
	b.letIn()
	svc := startPresence(t, url)
	var gs []*gateway
	for range gateways {
		gs = append(gs, startGateway(t, url, presenceRules, append([]string{"CONNECT_AUTH=authz"}, settings...)...))
	}
	return gs, b, svc
}

// letIn answers connects, with the param id as socket id, and joins, with the param presence as presence.
func (b *backend) letIn() {
	b.t.Helper()
	b.serve("phx.authz.connect", func(m *nats.Msg) {
		var r struct{ Params struct{ ID string } }
		_ = json.Unmarshal(m.Data, &r)
		if r.Params.ID == "" {
			reply(m, `{"allow":true}`)
			return
		}
		reply(m, fmt.Sprintf(`{"allow":true,"id":%q,"assigns":{"user":%q}}`, r.Params.ID, r.Params.ID))
	})
	b.serve("phx.authz.join", func(m *nats.Msg) {
		var r struct {
			Params struct{ Presence, Expires json.RawMessage }
		}
		_ = json.Unmarshal(m.Data, &r)
		answer := `{"status":"ok"`
		if r.Params.Presence != nil {
			answer += `,"presence":` + string(r.Params.Presence)
		}
		if r.Params.Expires != nil {
			answer += `,"expires_at":` + string(r.Params.Expires)
		}
		reply(m, answer+"}")
	})
}

// as is join params that track under a key.
func as(key string) any {
	return map[string]any{"presence": map[string]any{"key": key, "meta": map[string]any{"name": key}}}
}

func (g *gateway) dialAs(t *testing.T, id string) *phxtest.Client {
	t.Helper()
	return phxtest.Dial(t, g.url("vsn=2.0.0&id="+id))
}

func TestPresenceOfRules(t *testing.T) {
	t.Parallel()
	g, _, _ := presenceSetup(t, 2)
	ann, bob := g[0].dial(t), g[1].dial(t)
	var a, b phxtest.Roster
	ann.Join("lobby:1", map[string]any{"user": "ann"})
	ann.WantRoster(&a, "lobby:1", "ann", 0)
	bob.Join("lobby:1", map[string]any{"user": 42})
	ann.WantRoster(&a, "lobby:1", "42 ann", 0)
	bob.WantRoster(&b, "lobby:1", "42 ann", 0)
	quiet := g[1].dial(t)
	var q phxtest.Roster
	quiet.Join("lobby:1", struct{}{}) // no key: watches only
	quiet.WantRoster(&q, "lobby:1", "42 ann", 0)
	bob.Kill()
	ann.WantRoster(&a, "lobby:1", "ann", gone)
	quiet.WantRoster(&q, "lobby:1", "ann", gone)
	for _, user := range []any{"__proto__", "toString", strings.Repeat("x", 256), true, []int{1}} {
		ref := quiet.StartJoin("lobby:2", map[string]any{"user": user})
		wantError(t, quiet, ref, "invalid presence key")
	}
	var w phxtest.Roster
	quiet.Join("watch:1", struct{}{})
	quiet.WantRoster(&w, "watch:1", "", 0)
	quiet.Join("plain:1", struct{}{})
	quiet.WantNothing(200 * time.Millisecond)
}

func TestPresenceOfAuthz(t *testing.T) {
	t.Parallel()
	gs, b, _ := presenceSetup(t, 1)
	c := gs[0].dialAs(t, "s1")
	var r phxtest.Roster
	c.Join("room:1", as("ann"))
	c.WantRoster(&r, "room:1", "ann", 0)
	if !strings.HasPrefix(r.Meta("ann"), `{"phx_ref":"`) || !strings.HasSuffix(r.Meta("ann"), `,"name":"ann"}`) {
		t.Errorf("meta %s", r.Meta("ann"))
	}
	for key, reason := range map[string]string{"constructor": "invalid presence key", strings.Repeat("k", 256): "invalid presence key"} {
		wantError(t, c, c.StartJoin("room:2", as(key)), reason)
	}
	big := map[string]any{"presence": map[string]any{"key": "x", "meta": map[string]any{"x": strings.Repeat("x", 4096)}}}
	wantError(t, c, c.StartJoin("room:2", big), "invalid meta")
	other := gs[0].dial(t)
	var w phxtest.Roster
	other.Join("room:1", map[string]any{"presence": map[string]any{"meta": map[string]any{"ignored": 1}}})
	other.WantRoster(&w, "room:1", "ann", 0)
	forged := map[string]any{"presence": map[string]any{"key": "eve", "meta": map[string]any{"phx_ref": "forged", "phx_ref_prev": "x", "n": 1}}}
	eve := gs[0].dial(t)
	eve.Join("room:1", forged)
	other.WantRoster(&w, "room:1", "ann eve", 0)
	if strings.Contains(w.Meta("eve"), "forged") || strings.Contains(w.Meta("eve"), "phx_ref_prev") {
		t.Errorf("meta %s", w.Meta("eve"))
	}
	if list := b.ask(t, "phx.presence.list.room.nobody", ""); list != "{}" {
		t.Errorf("list of nobody: %s", list)
	}
}

// TestPresenceUpdateByClient: presence_update sets the fields of its rule, and no others.
func TestPresenceUpdateByClient(t *testing.T) {
	t.Parallel()
	gs, _, _ := presenceSetup(t, 2)
	c, o := gs[0].dial(t), gs[1].dial(t)
	var mine, others phxtest.Roster
	c.Join("room:1", as("ann"))
	c.WantRoster(&mine, "room:1", "ann", 0)
	o.Join("room:1", struct{}{})
	c.Push("room:1", "status", map[string]any{"status": "away", "name": "forged", "phx_ref": "x"})
	d := o.WantEvent("room:1", "presence_diff", `{"joins":{"ann":{"metas":[{"phx_ref":{"$bind":"new"},"phx_ref_prev":{"$bind":"old"},"name":"ann","status":"away"}]}},"leaves":{"ann":{"metas":[{"phx_ref":{"$bind":"old"},"name":"ann"}]}}}`)
	if err := others.Take(d.Event, d.Payload); err != nil {
		t.Error(err)
	}
	c.WantEvent("room:1", "presence_diff", string(d.Payload))
	c.WantReply(c.Push("room:1", "loud", map[string]any{"status": "back"}), "ok")
	wantError(t, c, c.Push("room:1", "loud", []int{1}), "invalid payload")
	wantError(t, c, c.Push("room:1", "loud", map[string]any{"status": strings.Repeat("x", 5000)}), "invalid meta")
	wantError(t, o, o.Push("room:1", "loud", map[string]any{"status": "x"}), "not tracked")
}

// TestPresenceByBackend: phx.presence.update and phx.presence.list, every answer.
func TestPresenceByBackend(t *testing.T) {
	t.Parallel()
	gs, b, _ := presenceSetup(t, 2)
	joined := b.listen("phx.joined.room.1")
	c, o := gs[0].dial(t), gs[1].dial(t)
	o.Join("room:1", struct{}{})
	next(t, joined)
	c.Join("room:1", as("ann"))
	channel := next(t, joined).Header.Get("Phx-Channel")
	var r phxtest.Roster
	c.WantRoster(&r, "room:1", "ann", 0)
	order := func(body string) string {
		return b.ask(t, "phx.presence.update.room.1", strings.ReplaceAll(body, "CHANNEL", channel))
	}
	for _, step := range []struct{ body, want string }{
		{`{"channel":"CHANNEL","meta":{"st":1}}`, `{"status":"ok"}`},
		{`{"channel":"CHANNEL","op":"update","key":"ann","meta":{"st":2}}`, `{"status":"ok"}`},
		{`{"channel":"CHANNEL","op":"update","key":"bob","meta":{}}`, `{"status":"error","reason":"not tracked"}`},
		{`{"channel":"CHANNEL","op":"update","meta":[]}`, `{"status":"error","reason":"invalid meta"}`},
		{`{"channel":"CHANNEL","op":"update"}`, `{"status":"error","reason":"invalid meta"}`},
		{`{"channel":"CHANNEL","op":"track","key":"ann","meta":{}}`, `{"status":"error","reason":"already tracked"}`},
		{`{"channel":"CHANNEL","op":"track","key":"desk","meta":{"x":1}}`, `{"status":"ok"}`},
		{`{"channel":"CHANNEL","op":"track","key":"valueOf","meta":{}}`, `{"status":"error","reason":"invalid presence key"}`},
		{`{"channel":"CHANNEL","op":"untrack","key":"nobody"}`, `{"status":"ok"}`},
		{`{"channel":"CHANNEL","op":"untrack","key":"desk"}`, `{"status":"ok"}`},
		{`{"channel":"nobody.0.1","op":"untrack"}`, `{"status":"error","reason":"unknown channel"}`},
		{`{"channel":"x","op":"untrack"}`, `{"status":"error","reason":"unknown channel"}`},
	} {
		wantJSON(t, step.body, []byte(order(step.body)), step.want)
	}
	wantJSON(t, "another topic", []byte(b.ask(t, "phx.presence.update.room.2", `{"channel":"`+channel+`","op":"untrack"}`)), `{"status":"error","reason":"unknown channel"}`)
	list := b.ask(t, "phx.presence.list.room.1", "")
	if !strings.HasPrefix(list, `{"ann":{"metas":[{"phx_ref":"`) || !strings.HasSuffix(list, `"st":2}]}}`) {
		t.Errorf("list: %s", list)
	}
	for i := range 5 {
		if got := order(fmt.Sprintf(`{"channel":"CHANNEL","op":"track","key":"k%d"}`, i)); got != `{"status":"ok"}` {
			t.Fatal(got)
		}
	}
	var page struct {
		Presences map[string]any
		Next      *string
	}
	seen, after := 0, ""
	for pages := 0; ; pages++ {
		page.Presences, page.Next = nil, nil
		if err := json.Unmarshal([]byte(b.ask(t, "phx.presence.list.room.1", fmt.Sprintf(`{"after":%q,"limit":2}`, after))), &page); err != nil {
			t.Fatal(err)
		}
		seen += len(page.Presences)
		if page.Next == nil {
			break
		}
		if after = *page.Next; pages > 5 {
			t.Fatal("pages without an end")
		}
	}
	if seen != 6 {
		t.Errorf("%d keys in all pages", seen)
	}
	wantJSON(t, "untrack", []byte(order(`{"channel":"CHANNEL","op":"untrack"}`)), `{"status":"ok"}`)
	c.WantRoster(&r, "room:1", "k0 k1 k2 k3 k4", 0)
	c.Leave("room:1")
	waitFor(t, "an empty list", func() bool { return b.ask(t, "phx.presence.list.room.1", "") == "{}" })
}

// TestPresenceOfALostGateway: SIGKILL; its people go on every client, and backends are told.
func TestPresenceOfALostGateway(t *testing.T) {
	t.Parallel()
	gs, b, _ := presenceSetup(t, 2)
	lost, left := b.listen("phx.gateway.lost"), b.listen("phx.left.>")
	joined := b.listen("phx.joined.room.1")
	o := gs[1].dial(t)
	var r phxtest.Roster
	o.Join("room:1", as("bob"))
	next(t, joined)
	c := gs[0].dialAs(t, "s1")
	c.Join("room:1", as("ann"))
	channel := next(t, joined).Header.Get("Phx-Channel")
	o.WantRoster(&r, "room:1", "ann bob", 0)
	gs[0].signal(syscall.SIGKILL)
	began := time.Now()
	o.WantRoster(&r, "room:1", "bob", gone)
	t.Logf("gone after %v", time.Since(began))
	m := next(t, lost)
	id, _, _ := strings.Cut(channel, ".")
	wantJSON(t, "phx.gateway.lost", m.Data, `{"gateway":"`+id+`"}`)
	m = next(t, left)
	wantHeaders(t, m, "Phx-Topic", "room:1", "Phx-Channel", channel, "Phx-Socket-Id", "s1", "Phx-Assigns", `{"user":"s1"}`)
	wantJSON(t, "phx.left", m.Data, `{"reason":"gateway_lost"}`)
}

// TestPresenceOfAFrozenGateway: it is given up, and comes back without ghosts.
func TestPresenceOfAFrozenGateway(t *testing.T) {
	t.Parallel()
	gs, b, _ := presenceSetup(t, 3)
	o, c := gs[1].dial(t), gs[0].dialAs(t, "s1")
	var r, mine phxtest.Roster
	o.Join("room:1", as("bob"))
	c.Join("room:1", as("ann"))
	o.WantRoster(&r, "room:1", "ann bob", 0)
	c.WantRoster(&mine, "room:1", "ann bob", 0)
	gs[0].signal(syscall.SIGSTOP)
	o.WantRoster(&r, "room:1", "bob", gone+time.Second)
	gs[0].signal(syscall.SIGCONT)
	o.WantRoster(&r, "room:1", "ann bob", gone)
	waitFor(t, "one ann", func() bool { return strings.Count(b.ask(t, "phx.presence.list.room.1", ""), `"phx_ref"`) == 2 })
}

// TestPresenceWithoutService: joins work while presence-svc is away, and what they track follows.
func TestPresenceWithoutService(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b := connectBackend(t, url)
	b.letIn()
	g := startGateway(t, url, presenceRules, "CONNECT_AUTH=authz")
	c := g.dial(t)
	c.Join("room:1", as("ann"))
	c.WantNothing(300 * time.Millisecond)
	startPresence(t, url)
	var r phxtest.Roster
	c.WantRoster(&r, "room:1", "ann", gone)
}

// TestPresenceServicesTakeOver: of two one is killed; nobody misses a change.
func TestPresenceServicesTakeOver(t *testing.T) {
	t.Parallel()
	gs, b, first := presenceSetup(t, 1)
	startPresence(t, b.nc.ConnectedUrl())
	watcher := gs[0].dial(t)
	rosters := map[string]*phxtest.Roster{}
	topics := make([]string, 16)
	for i := range topics {
		topics[i] = fmt.Sprintf("room:%d", i)
		rosters[topics[i]] = &phxtest.Roster{}
		watcher.Join(topics[i], map[string]any{"presence": map[string]any{}})
		watcher.WantRoster(rosters[topics[i]], topics[i], "", 0)
	}
	first.signal(syscall.SIGKILL)
	began := time.Now()
	people := gs[0].dial(t)
	for _, topic := range topics {
		people.Join(topic, as("ann"))
	}
	for len(rosters) > 0 {
		f := watcher.Recv(gone)
		for topic, r := range rosters {
			watcher.TakeInto(r, topic, f)
			if r.String() == "ann" {
				delete(rosters, topic)
			}
		}
		if time.Since(began) > gone {
			t.Fatalf("%d topics not told after %v", len(rosters), gone)
		}
	}
	t.Logf("all told %v after the kill", time.Since(began))
}

// TestPresenceLingers: a user whose gateway drains is seen without a break if he comes back, under his phx_ref.
func TestPresenceLingers(t *testing.T) {
	t.Parallel()
	gs, _, _ := presenceSetup(t, 2, "PRESENCE_LINGER=3s")
	o, c := gs[1].dial(t), gs[0].dialAs(t, "s1")
	var r phxtest.Roster
	o.Join("room:1", as("bob"))
	c.Join("room:1", as("ann"))
	stays := gs[0].dialAs(t, "s2")
	stays.Join("room:1", as("eve"))
	o.WantRoster(&r, "room:1", "ann bob eve", 0)
	ref := r.Meta("ann")
	var before phxtest.Roster
	c.WantRoster(&before, "room:1", "ann bob eve", 0)
	gs[0].signal(syscall.SIGTERM)
	c.WantClosed(1012)
	again := gs[1].dialAs(t, "s1")
	var mine phxtest.Roster
	again.Join("room:1", as("ann"))
	again.WantRoster(&mine, "room:1", "ann bob eve", 0)
	if mine.Meta("ann") != ref {
		t.Errorf("after coming back the meta is %s, was %s", mine.Meta("ann"), ref)
	}
	o.WantRoster(&r, "room:1", "ann bob", 3*time.Second+gone) // eve does not come back
	if r.Left != 1 || r.Meta("ann") != ref {
		t.Errorf("%d metas left, ann is %s", r.Left, r.Meta("ann"))
	}
}

// TestPresenceLingersWhereTheSocketStays: a channel that expires is joined anew, and nobody sees its user go.
func TestPresenceLingersWhereTheSocketStays(t *testing.T) {
	t.Parallel()
	gs, _, _ := presenceSetup(t, 2)
	o, c := gs[1].dial(t), gs[0].dialAs(t, "s1")
	var r phxtest.Roster
	o.Join("room:1", as("bob"))
	params := as("ann").(map[string]any)
	params["expires"] = time.Now().Unix() + 2
	c.Join("room:1", params)
	o.WantRoster(&r, "room:1", "ann bob", 0)
	ref := r.Meta("ann")
	c.WantUntil([]any{"1", "1", "room:1", "phx_error", map[string]any{"reason": "channel_crash"}})
	c.Join("room:1", as("ann"))
	other := gs[1].dialAs(t, "s2")
	other.Join("room:1", as("ann")) // another socket id is another user, though the key is the same
	o.WantRoster(&r, "room:1", "ann*2 bob", 0)
	if r.Left != 0 || r.Meta("ann") != ref {
		t.Errorf("%d metas left; ann is %s, was %s", r.Left, r.Meta("ann"), ref)
	}
}

// TestPresenceCounts: a rule may say how many, and not who.
func TestPresenceCounts(t *testing.T) {
	t.Parallel()
	gs, _, _ := presenceSetup(t, 2)
	a, b := gs[0].dial(t), gs[1].dial(t)
	a.Join("hall:1", map[string]any{"user": "ann"})
	a.WantEvent("hall:1", "presence_count", `{"count":1}`)
	b.Join("hall:1", map[string]any{"user": "bob"})
	b.WantEvent("hall:1", "presence_count", `{"count":2}`)
	a.WantUntil([]any{nil, nil, "hall:1", "presence_count", map[string]any{"count": 2}})
	b.Leave("hall:1")
	a.WantUntil([]any{nil, nil, "hall:1", "presence_count", map[string]any{"count": 1}})
}

// TestPresenceLargerThanAMessage: a topic whose list does not fit into one NATS message is seen all the same, by who joins, and by who watches when many come or go at once.
func TestPresenceLargerThanAMessage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startConfigured(t, fmt.Sprintf("max_payload: 32768\njetstream { store_dir: %q, max_mem: 64M, max_file: 256M }\n", dir))
	url := server.url("")
	b := connectBackend(t, url)
	b.letIn()
	startPresence(t, url)
	many := startGateway(t, url, presenceRules, "CONNECT_AUTH=authz")
	stays := startGateway(t, url, presenceRules, "CONNECT_AUTH=authz")
	watcher := stays.dial(t)
	var seen phxtest.Roster
	watcher.Join("room:1", map[string]any{"presence": map[string]any{}})
	const people = 100
	for i := range people {
		c := many.dial(t)
		c.Join("room:1", map[string]any{"presence": map[string]any{"key": fmt.Sprintf("p%03d", i), "meta": map[string]any{"about": strings.Repeat("x", 900)}}})
	}
	wait := func(c *phxtest.Client, r *phxtest.Roster, n int, d time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(d); !r.Synced() || r.Len() != n; {
			c.TakeInto(r, "room:1", c.Recv(time.Until(deadline)))
		}
	}
	wait(watcher, &seen, people, gone)
	late := stays.dial(t)
	var whole phxtest.Roster
	late.Join("room:1", map[string]any{"presence": map[string]any{}})
	wait(late, &whole, people, gone)
	if answer := b.ask(t, "phx.presence.list.room.1", ""); answer != `{"error":"too large, ask for pages"}` {
		t.Errorf("list: %.100s", answer)
	}
	if answer := b.ask(t, "phx.presence.list.room.1", `{"limit":20}`); !strings.Contains(answer, `"next":"p019"`) {
		t.Errorf("page: %.100s … %s", answer, answer[max(0, len(answer)-40):])
	}
	many.signal(syscall.SIGKILL) // one diff of all: it does not fit either. How soon is for TestPresenceOfALostGateway
	wait(watcher, &seen, 0, 3*gone)
	wait(late, &whole, 0, 3*gone)
}
