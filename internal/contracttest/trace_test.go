package contracttest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// ownTrace is a traceparent that a gateway made (W3C Trace Context §3.2.2).
var ownTrace = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$`)

// What a client causes carries the trace context of its connect request, where there was one, else one that begins with the message.
func TestTraceContext(t *testing.T) {
	t.Parallel()
	const rules = `channels: [{topic: "*", events: [{event: seen, do: cast}, {event: "*", do: call}]}]`
	g, b := setup(t, rules, "CONNECT_AUTH=authz")
	quiet := startGateway(t, b.nc.ConnectedUrl(), rules, "CONNECT_AUTH=authz", "TRACE_SAMPLE_RATIO=0")
	b.answer("phx.authz.connect", `{"allow":true}`)
	b.answer("phx.authz.join", `{"status":"ok"}`)
	b.answer("phx.event.ask.>", ``)
	heard := b.listen("phx.>")
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, test := range []struct {
		name                  string
		g                     *gateway
		parent, state         string // of the request
		wantParent, wantState string // "" for a trace of its own
		flags                 string
	}{
		{"none", g, "", "", "", "", "01"},
		{"none, and none recorded", quiet, "", "", "", "", "00"},
		{"given", g, given, "a=1,b=2", given, "a=1,b=2", "01"},
		{"given, not recorded", quiet, given[:53] + "00", "", given[:53] + "00", "", "00"},
		{"state alone", g, "", "a=1", "", "", "01"},
		{"state too long", g, given, "a=" + strings.Repeat("x", 511), given, "", "01"},
		{"upper case", g, strings.ToUpper(given), "", "", "", "01"},
		{"short", g, given[:54], "", "", "", "01"},
		{"long", g, given + "-00", "", "", "", "01"},
		{"another version", g, "ff" + given[2:], "", "", "", "01"},
		{"no trace id", g, "00-" + strings.Repeat("0", 32) + given[35:], "", "", "", "01"},
		{"no parent id", g, given[:36] + strings.Repeat("0", 16) + "-01", "", "", "", "01"},
		{"text", g, "hello", "", "", "", "01"},
	} {
		var options []phxtest.Option
		if test.parent != "" {
			options = append(options, phxtest.Header("traceparent", test.parent))
		}
		if test.state != "" {
			options = append(options, phxtest.Header("tracestate", test.state))
		}
		c := phxtest.Dial(t, test.g.url("vsn=2.0.0"), options...)
		c.Join("room:1", struct{}{})
		c.Call("room:1", "ask", struct{}{}, "ok")
		c.Push("room:1", "seen", struct{}{})
		c.Leave("room:1")
		c.Drop()
		made := map[string]bool{}
		for _, subject := range []string{"phx.authz.connect", "phx.authz.join", "phx.joined.room.1", "phx.event.ask.room.1", "phx.event.seen.room.1", "phx.left.room.1"} {
			msg := nextOf(t, heard, subject)
			parent := msg.Header.Get("traceparent")
			wantHeaders(t, msg, "tracestate", test.wantState)
			if test.wantParent != "" {
				wantHeaders(t, msg, "traceparent", test.wantParent)
				continue
			}
			if !ownTrace.MatchString(parent) || made[parent] || parent[3:35] == given[3:35] {
				t.Errorf("%s: %s: traceparent %q, want one of its own", test.name, subject, parent)
			}
			if made[parent] = true; !strings.HasSuffix(parent, "-"+test.flags) {
				t.Errorf("%s: %s: traceparent %q, want flags %s", test.name, subject, parent, test.flags)
			}
		}
	}
}

// nextOf is the next message of a subject.
func nextOf(t *testing.T, sub *nats.Subscription, subject string) *nats.Msg {
	t.Helper()
	for {
		if msg := next(t, sub); msg.Subject == subject {
			return msg
		}
	}
}
