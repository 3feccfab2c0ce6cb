package gateway

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// TestPresencePartOfRule: what a `join: allow` rule makes of params, assigns and socket id.
func TestPresencePartOfRule(t *testing.T) {
	for _, tc := range []struct {
		topic, id, assigns, params string
		told                       string // behind channel id and topic; "": nothing
		refused                    string
	}{
		{topic: "plain:a", params: `{"user":"ann"}`},
		{topic: "room:a", params: `{"user":"ann"}`, told: `""`},
		{topic: "param:a", params: `{"user":"ann"}`, told: `"" as "ann" {}`},
		{topic: "param:a", params: `{"user":"\u00e9\n"}`, told: `"" as "é\n" {}`},
		{topic: "param:a", params: `{"user":""}`, told: `"" as "" {}`},
		{topic: "param:a", params: `{"user": 42 }`, told: `"" as "42" {}`},
		{topic: "param:a", params: `{"user":-1.50e3}`, told: `"" as "-1.50e3" {}`},
		{topic: "param:a", params: `{"user":null}`, told: `""`},
		{topic: "param:a", params: `{}`, told: `""`},
		{topic: "param:a", params: `"text"`, told: `""`},
		{topic: "param:a", params: `{"user":true}`, refused: "invalid presence key"},
		{topic: "param:a", params: `{"user":["ann"]}`, refused: "invalid presence key"},
		{topic: "param:a", params: `{"user":{}}`, refused: "invalid presence key"},
		{topic: "param:a", params: `{"user":"bad"}`, refused: "invalid presence key"},
		{topic: "claim:a", params: `{}`, assigns: `{"claims":{"sub":"u1"}}`, told: `"" as "u1" {}`},
		{topic: "claim:a", params: `{"claims":{"sub":"u1"}}`, told: `""`},
		{topic: "id:a", params: `{}`, id: "user_socket:7", told: `"user_socket:7" as "user_socket:7" {}`},
		{topic: "id:a", params: `{}`, told: `""`},
		{topic: "hall:a", params: `{"user":"ann"}`, told: `"" counted as "ann" {}`},
		{topic: "hall:a", params: `{}`, told: `"" counted`},
	} {
		t.Run(tc.topic+" "+tc.params, func(t *testing.T) {
			l, bus, p := newPresenceLoop(t, nil)
			s := openSocket(l, keeping(), phx.V2)
			l.setID(s, tc.id)
			if tc.assigns != "" {
				s.assigns = []byte(tc.assigns)
			}
			ch := joinWith(l, bus, s, tc.topic, tc.params)
			wantJoin(t, l, bus, p, s, ch, tc.topic, tc.told+", assigns "+tc.assigns, tc.told != "", tc.refused)
			if ch != nil && ch.more != nil {
				t.Error("params are kept that no event needs")
			}
		})
	}
}

// wantJoin checks one join: what presence was told of it, and what the client was.
func wantJoin(t *testing.T, l *loop, bus *fakeBus, p *fakePresence, s *socket, ch *channel, topic, told string, takes bool, refused string) {
	t.Helper()
	reply := okReply("1", topic)
	if refused != "" {
		reply = errorReply("1", topic, refused)
	}
	wantReceived(t, &channel{socket: s}, reply)
	if refused != "" {
		if ch != nil || bus.joined != 0 || len(bus.left) != 0 || l.srv.hub.count() != 0 {
			t.Errorf("refused, but: channel %v, %d phx.joined, phx.left %v, %d topics", ch, bus.joined, bus.left, l.srv.hub.count())
		}
		p.want(t)
		return
	}
	if !takes {
		p.want(t)
		return
	}
	p.want(t, "join "+ch.id()+" "+topic+" "+told)
}

// TestPresencePartOfDecision: what a join reply says goes before the rule, and takes part without one.
func TestPresencePartOfDecision(t *testing.T) {
	large := []byte(`{"a":"` + strings.Repeat("x", 4<<10) + `"}`)
	for name, tc := range map[string]struct {
		topic   string
		part    *JoinPresence
		told    string
		refused string
	}{
		"no rule, nothing":         {topic: "authz:a"},
		"no rule, watches":         {topic: "authz:a", part: &JoinPresence{}, told: `""`},
		"no rule, tracked":         {topic: "authz:a", part: &JoinPresence{Tracked: true, Key: "7"}, told: `"" as "7" {}`},
		"no rule, tracked, meta":   {topic: "authz:a", part: &JoinPresence{Tracked: true, Key: "", Meta: []byte(`{"phx_ref":"forged","n":1}`)}, told: `"" as "" {"n":1}`},
		"rule, nothing":            {topic: "authz watch:a", told: `""`},
		"rule, tracked":            {topic: "authz watch:a", part: &JoinPresence{Tracked: true, Key: "7"}, told: `"" as "7" {}`},
		"counted rule, nothing":    {topic: "authz count:a", told: `"" counted`},
		"counted rule, tracked":    {topic: "authz count:a", part: &JoinPresence{Tracked: true, Key: "7"}, told: `"" counted as "7" {}`},
		"a key that is refused":    {topic: "authz:a", part: &JoinPresence{Tracked: true, Key: "bad"}, refused: "invalid presence key"},
		"a meta that is too large": {topic: "authz:a", part: &JoinPresence{Tracked: true, Key: "7", Meta: large}, refused: "invalid meta"},
		"a meta of who watches":    {topic: "authz:a", part: &JoinPresence{Key: "bad", Meta: large}, told: `""`},
	} {
		t.Run(name, func(t *testing.T) {
			l, bus, p := newPresenceLoop(t, nil)
			l.srv.authorizer = &fakeDecisions{d: &JoinDecision{Presence: tc.part, Assigns: []byte(`{"role":"x"}`)}}
			s := openSocket(l, keeping(), phx.V2)
			ch := joinWith(l, bus, s, tc.topic, `{}`)
			wantJoin(t, l, bus, p, s, ch, tc.topic, tc.told+`, assigns {"role":"x"}`, tc.told != "", tc.refused)
		})
	}
}

// TestPresenceAfterTheJoinReply: what presence pushes at once comes behind the reply, and behind the phx_close of the channel that the join replaced.
func TestPresenceAfterTheJoinReply(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	s := openSocket(l, keeping(), phx.V2)
	waiting := 0
	p.onJoin = func() {
		if s.out != nil {
			waiting = len(s.out.waits)
		}
		l.srv.PushPresence(s.channelOf("room:a").id(), "presence_state", emptyObject)
	}
	old := join(t, l, bus, s, "room:a")
	if waiting != 1 {
		t.Errorf("%d frames were sent when presence was told of the join, want the reply", waiting)
	}
	id := old.id()
	received(t, old)
	p.lines = nil
	l.feed(s, clientText(`["2","2","room:a","phx_join",{}]`))
	settle(l, bus)
	ch := s.channelOf("room:a")
	wantReceived(t, ch, `["2","2","room:a","phx_reply",{"status":"ok","response":{}}]`, `["1","1","room:a","phx_close",{}]`, `["2",null,"room:a","presence_state",{}]`)
	p.want(t, "leave "+id+", lingers: false", "join "+ch.id()+` room:a "", assigns `)
}

// TestPresenceRefusesAReplacingJoin: the older channel is gone all the same, and its phx_close follows the error.
func TestPresenceRefusesAReplacingJoin(t *testing.T) {
	l, bus, p := newPresenceLoop(t, nil)
	s := openSocket(l, keeping(), phx.V2)
	old := joinWith(l, bus, s, "param:a", `{"user":"ann"}`)
	received(t, old)
	p.lines = nil
	l.feed(s, clientText(`["2","2","param:a","phx_join",{"user":[]}]`))
	settle(l, bus)
	wantReceived(t, old, `["2","2","param:a","phx_reply",{"status":"error","response":{"reason":"invalid presence key"}}]`, `["1","1","param:a","phx_close",{}]`)
	p.want(t, "leave "+old.id()+", lingers: false")
	if len(s.channels) != 0 {
		t.Error("the socket still has a channel")
	}
}

// TestNoPresence: without one, rules that speak of it join, and nothing is sent.
func TestNoPresence(t *testing.T) {
	l, bus, _ := newPresenceLoop(t, func(cfg *Config) { cfg.Presence = nil })
	s := openSocket(l, keeping(), phx.V2)
	ch := joinWith(l, bus, s, "param:a", `{"user":true}`)
	if ch == nil {
		t.Fatal("refused")
	}
	wantReceived(t, ch, okReply("1", "param:a"))
	room := joinWith(l, bus, s, "room:a", `{}`)
	received(t, room)
	room.send(l, "2", "status", `{"status":"x"}`)
	wantReceived(t, room, errorReply("2", "room:a", "not tracked"))
	l.closeSocket(s, causeDrain)
}

// TestPresenceDrainsFirst: presence learns that the gateway goes away before the first socket is closed.
func TestPresenceDrainsFirst(t *testing.T) {
	set, err := rules.Parse("rules.yaml", []byte(presenceRules))
	if err != nil {
		t.Fatal(err)
	}
	const drainTimeout = 100 * time.Millisecond
	p := &drainPresence{}
	cfg := DefaultConfig()
	cfg.ID, cfg.Rules, cfg.Loops, cfg.Presence = "g1", set, 1, p
	if p.srv, err = New(cfg, &fakeBus{t: t}, fakeAuthorizer{}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- p.srv.Serve(ctx, ln, drainTimeout) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(10 * time.Second); p.srv.open.Load() == 0; <-poll.C {
		if time.Now().After(deadline) {
			t.Fatal("the connection was not accepted")
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if len(p.states) != 1 || p.states[0] != handshaking || !p.draining {
		t.Errorf("told with sockets in states %v, none taken any more: %t; want one that is as it was", p.states, p.draining)
	}
	if p.limit <= 0 || p.limit >= drainTimeout {
		t.Errorf("it may take %v of %v: want some, and some left for the sockets", p.limit, drainTimeout)
	}
}

// drainPresence looks at the server when it is told to drain.
type drainPresence struct {
	fakePresence
	srv      *Server
	states   []socketState
	draining bool
	limit    time.Duration
}

func (p *drainPresence) Drain(limit time.Duration) {
	p.draining, p.limit = p.srv.Draining(), limit
	looked := make(chan struct{})
	p.srv.loops[0].mailbox.post(mailFunc(func(l *loop) {
		for _, s := range l.slots {
			if s != nil {
				p.states = append(p.states, s.state)
			}
		}
		close(looked)
	}))
	<-looked
}
