package contracttest

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestBadRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, rules string
		line        string // where the mistake is
	}{
		{"not YAML", "channels:\n  - {topic: a\n", ""},
		{"no channels", "rooms: []\n", "1"},
		{"unknown key", "channels:\n  - topic: a\n    joins: allow\n", "3"},
		{"unknown join", "channels:\n  - topic: a\n    join: maybe\n", "3"},
		{"no topic", "channels:\n  - join: allow\n", "2"},
		{"star in the middle", "channels:\n  - topic: \"a*b\"\n", "2"},
		{"unknown do", "channels:\n  - topic: a\n    events:\n      - {event: x, do: shout}\n", "4"},
		{"event without do", "channels:\n  - topic: a\n    events:\n      - {event: x}\n", "4"},
		{"do without event", "channels:\n  - topic: a\n    events:\n      - {do: call}\n", "4"},
		{"unknown event key", "channels:\n  - topic: a\n    events:\n      - {event: x, do: call, retry: 1}\n", "4"},
		{"bad timeout", "channels:\n  - topic: a\n    events:\n      - {event: x, do: call, timeout: 5}\n", "4"},
		{"zero timeout", "channels:\n  - topic: a\n    events:\n      - {event: x, do: call, timeout: 0s}\n", "4"},
		{"bad set", "channels:\n  - topic: a\n    events:\n      - {event: x, do: broadcast, set: {a: user.id}}\n", "4"},
		{"bad on_gap", "channels:\n  - topic: a\n    on_gap: retry\n", "3"},
		{"bad limit", "channels:\n  - topic: a\n    limits: {events_per_second: fast}\n", "3"},
		{"unknown limit", "channels:\n  - topic: a\n    limits: {bytes: 1}\n", "3"},
		{"bad condition", "channels:\n  - topic: a\n    join: claims.role = 1\n", "3"},
		{"condition of a string", "channels:\n  - topic: a\n    join: claims.role + \"x\"\n    deliver: '\"x\"'\n", "4"},
		{"bad deliver", "channels:\n  - topic: a\n    join: 'true'\n    deliver: payload.n +\n", "4"},
		{"negative limit", "channels:\n  - topic: a\n    limits: {payload_bytes: -1}\n", "3"},
	} {
		path := writeFile(t, "rules.yaml", test.rules)
		env := []string{"CHANNELS_FILE=" + path, "CONNECT_AUTH=allow", "NATS_URL=nats://127.0.0.1:1", "LISTEN=" + freeAddress(t), "ADMIN_LISTEN=" + freeAddress(t)}
		for _, args := range [][]string{nil, {"check-config"}} {
			status, stdout, stderr := runGateway(t, args, env...)
			where := filepath.Base(path) + ":" + test.line
			if text := stdout + stderr; status == 0 || !strings.Contains(text, where) || !strings.Contains(text, "CHANNELS_FILE") {
				t.Errorf("%s %v: status %d, %q, want CHANNELS_FILE and %s", test.name, args, status, text, where)
			}
		}
	}
}

func TestRulesReload(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - topic: "room:*"
    join: allow
    events: [{event: "*", do: reject}]
`)
	b.answer("phx.event.>", `{"asked":true}`)
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	wantError(t, c, c.StartJoin("lobby", struct{}{}), "unmatched topic")
	c.Drain()
	overwrite(t, g.rules, everything)
	g.signal(syscall.SIGHUP)
	waitFor(t, "the new rules", func() bool { return c.WantReply(c.StartJoin("lobby", struct{}{}), "").Status == "ok" })
	c.Call("lobby", "ask", struct{}{}, "ok")

	lines := strings.Count(g.stderr.String(), "\n")
	overwrite(t, g.rules, "channels:\n  - {topic: lobby, join: maybe}\n")
	g.signal(syscall.SIGHUP)
	waitFor(t, "a line about the mistake", func() bool {
		said := strings.SplitN(g.stderr.String(), "\n", lines+1)[lines]
		return strings.Contains(said, "channels.yaml:2")
	})
	c.Join("other", struct{}{})
	c.Call("other", "ask", struct{}{}, "ok")
	g.waitForReady(200)
}
