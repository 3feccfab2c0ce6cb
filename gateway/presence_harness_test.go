package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// presenceRules has a topic for each thing that a rule can say of presence.
const presenceRules = `
channels:
  - topic: "room:*"
    join: allow
    presence: {}
    events:
      - {event: status, do: presence_update, fields: [status, typing]}
      - {event: loud, do: presence_update, fields: [status], reply: true}
      - {event: say, do: broadcast, reply: true}
      - {event: ask, do: call}
  - {topic: "plain:*", join: allow, events: [{event: status, do: presence_update, fields: [status]}]}
  - {topic: "param:*", join: allow, presence: {key: params.user}}
  - {topic: "claim:*", join: allow, presence: {key: claims.sub}}
  - {topic: "id:*", join: allow, presence: {key: socket.id}}
  - {topic: "hall:*", join: allow, presence: {key: params.user, broadcast: count}}
  - {topic: "authz:*", events: [{event: status, do: presence_update, fields: [status]}]}
  - {topic: "authz watch:*", presence: {}}
  - {topic: "authz count:*", presence: {broadcast: count}}
  - topic: "limited:*"
    join: allow
    presence: {}
    limits: {events_per_second: 1, burst: 1, payload_bytes: 20}
    events: [{event: status, do: presence_update, fields: [status]}]
`

// fakePresence notes what it is told, with `ch` for the id of the channel of the moment. It takes keys but "bad" and metas up to 4 KiB.
type fakePresence struct {
	lines  []string
	done   []func(error) // of updates, oldest first
	onJoin func()
}

func (p *fakePresence) note(format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

func (p *fakePresence) CheckKey(key string) error {
	if key == "bad" {
		return errors.New("invalid presence key")
	}
	return nil
}

func (p *fakePresence) CleanMeta(meta []byte) ([]byte, error) {
	switch {
	case meta == nil:
		return []byte("{}"), nil
	case len(meta) > 4<<10:
		return nil, errors.New("invalid meta")
	}
	return bytes.ReplaceAll(meta, []byte(`"phx_ref":"forged",`), nil), nil
}

func (p *fakePresence) Join(channel, topic, socketID string, counted, tracked bool, key string, meta, assigns []byte) {
	line := fmt.Sprintf("join %s %s %q", channel, topic, socketID)
	if counted {
		line += " counted"
	}
	if tracked {
		line += fmt.Sprintf(" as %q %s", key, meta)
	}
	p.note("%s, assigns %s", line, assigns)
	if p.onJoin != nil {
		p.onJoin()
	}
}

func (p *fakePresence) Update(channel string, fields []string, changes []byte, done func(error)) {
	p.note("update %s %v %s", channel, fields, changes)
	p.done = append(p.done, done)
}

func (p *fakePresence) Leave(channel string, lingers bool) {
	p.note("leave %s, lingers: %t", channel, lingers)
}

func (p *fakePresence) Drain(time.Duration) { p.note("drain") }

// answer accepts or refuses the oldest update that waits, and runs the loop.
func (p *fakePresence) answer(l *loop, err error) {
	done := p.done[0]
	p.done = p.done[1:]
	done(err)
	turn(l)
}

// want compares what was told since the last call.
func (p *fakePresence) want(t *testing.T, lines ...string) {
	t.Helper()
	if got, want := strings.Join(p.lines, "\n"), strings.Join(lines, "\n"); got != want {
		t.Errorf("presence was told\n%s\nwant\n%s", got, want)
	}
	p.lines = nil
}

// fakeDecisions answers every join request at once.
type fakeDecisions struct {
	Authorizer
	d *JoinDecision
}

func (a *fakeDecisions) AuthorizeJoins(asks []JoinAsk) {
	for _, ask := range asks {
		d := *a.d
		d.OK, d.Response = true, emptyObject
		ask.Done(&d, nil)
	}
}

// newPresenceLoop makes a loop with a presence, under presenceRules.
func newPresenceLoop(t testing.TB, change func(*Config)) (*loop, *fakeBus, *fakePresence) {
	t.Helper()
	set, err := rules.Parse("rules.yaml", []byte(presenceRules))
	if err != nil {
		t.Fatal(err)
	}
	p := &fakePresence{}
	l, bus := newTestLoop(t, func(cfg *Config) {
		cfg.Rules, cfg.Presence = set, p
		if change != nil {
			change(cfg)
		}
	})
	return l, bus, p
}

// joinWith joins a V2 socket with params; nil if it was refused.
func joinWith(l *loop, b *fakeBus, s *socket, topic, params string) *channel {
	l.feed(s, clientText(`["1","1","`+topic+`","phx_join",`+params+`]`))
	settle(l, b)
	return s.channelOf(topic)
}

// joinRoom joins a new V2 socket to room:a, and forgets what that told.
func joinRoom(t *testing.T, l *loop, b *fakeBus, p *fakePresence) *channel {
	t.Helper()
	ch := join(t, l, b, openSocket(l, keeping(), phx.V2), "room:a")
	received(t, ch)
	p.lines = nil
	return ch
}

// send has the channel's client send a push; ref is its ref.
func (ch *channel) send(l *loop, ref, event, payload string) {
	l.feed(ch.socket, clientText(`["1","`+ref+`","`+ch.topic.name+`","`+event+`",`+payload+`]`))
	turn(l)
}

func okReply(ref, topic string) string {
	return `["1","` + ref + `","` + topic + `","phx_reply",{"status":"ok","response":{}}]`
}

func errorReply(ref, topic, reason string) string {
	return `["1","` + ref + `","` + topic + `","phx_reply",{"status":"error","response":{"reason":"` + reason + `"}}]`
}
