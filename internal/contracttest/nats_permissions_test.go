package contracttest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const permissionRules = `channels:
  - topic: "room:*"
    events:
      - {event: new_msg, do: broadcast, reply: true}
      - {event: seen, do: cast}
      - {event: "*", do: call}
  - topic: "open:*"
    join: allow
`

// startDocumented starts a server with the configuration under "Permissions"
// in docs/nats.md, changed by replacements. Every user's password is its name
// and "-pw".
func startDocumented(t *testing.T, replace ...string) *natsServer {
	t.Helper()
	for _, user := range []string{"gateway", "authz", "backend", "presence", "debug"} {
		t.Setenv(strings.ToUpper(user)+"_PASSWORD", user+"-pw")
	}
	jetStream := fmt.Sprintf("\njetstream { store_dir: %q, max_mem: 64M, max_file: 256M }\n", t.TempDir())
	return startConfigured(t, strings.NewReplacer(replace...).Replace(documentedConfig(t, "Permissions"))+jetStream)
}

func (s *natsServer) as(user string) string { return s.url(user + ":" + user + "-pw") }

// TestNATSPermissionsSuffice: with the documented permissions everything that
// the programs do goes through.
func TestNATSPermissionsSuffice(t *testing.T) {
	server := startDocumented(t)
	debug, authz, rooms := connectBackend(t, server.as("debug")), connectBackend(t, server.as("authz")), connectBackend(t, server.as("backend"))
	all := debug.listen("phx.>")
	authz.answer("phx.authz.connect", `{"allow":true,"id":"user:1"}`)
	asked := make(chan string, 100)
	authz.serve("phx.authz.join", func(msg *natsMsg) {
		reply(msg, `{"status":"ok"}`)
		asked <- string(msg.Data)
	})
	authz.serve("phx.authz.joins", func(msg *natsMsg) { reply(msg, string(msg.Data)) }) // of an empty one the answer
	rooms.answer("phx.event.ping.room.>", `{"pong":true}`)
	joined, left := rooms.listen("phx.joined.room.>"), rooms.listen("phx.left.room.>")
	cast, broadcasts := rooms.listen("phx.event.seen.room.>"), rooms.listen("phx.topic.room.>")
	g := startGateway(t, server.as("gateway"), permissionRules, "CONNECT_AUTH=authz", "LOG_LEVEL=debug")

	c := g.dial(t)
	c.Join("room:1", struct{}{})
	channel := next(t, joined).Header.Get("Phx-Channel")
	wantJSON(t, "reply", c.WantReply(c.Push("room:1", "ping", struct{}{}), "ok").Payload, `{"pong":true}`)
	c.Push("room:1", "seen", struct{}{})
	next(t, cast)
	ref := c.Push("room:1", "new_msg", map[string]int{"n": 1})
	c.WantReply(ref, "ok")
	c.WantEvent("room:1", "new_msg", `{"n":1}`)
	next(t, broadcasts)
	rooms.publish("phx.topic.room.1", `{"n":2}`, "Phx-Event", "told")
	c.WantEvent("room:1", "told", `{"n":2}`)
	rooms.publish("phx.channel."+channel, `{"n":3}`, "Phx-Event", "pushed")
	c.WantEvent("room:1", "pushed", `{"n":3}`)
	rooms.publish("phx.topic.room.1", `no JSON`, "Phx-Event", "bad")
	wantAsked := func(after string) {
		t.Helper()
		select {
		case <-asked:
		case <-time.After(phxtest.Patience()):
			t.Fatalf("nobody was asked after %s", after)
		}
	}
	wantAsked("the join")
	authz.publish("phx.authz.recheck.topic.room.1", ``)
	wantAsked("an order of the authz service")
	for _, subject := range []string{"phx.authz.recheck.topic.room.1", "phx.authz.recheck.socket.user=3A1"} {
		rooms.publish(subject, ``)
		wantAsked(subject)
	}
	rooms.publish("phx.socket.user=3A1", ``, "Phx-Action", "disconnect")
	c.WantClosed(1001)
	next(t, left)

	seen := map[string]bool{}
	for !seen["phx.dropped"] || !seen["phx.left.room.1"] {
		seen[next(t, all).Subject] = true
	}
	for _, subject := range []string{"phx.authz.connect", "phx.authz.join", "phx.authz.joins", "phx.event.ping.room.1", "phx.topic.room.1", "phx.joined.room.1"} {
		if !seen[subject] {
			t.Errorf("whoever debugs saw nothing on %s", subject)
		}
	}
	// As long as somebody listens to phx.>, each call has somebody who might answer.
	if err := all.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	debug.flush()
	other := g.dial(t)
	other.Join("room:2", struct{}{})
	wantError(t, other, other.Push("room:2", "unserved", struct{}{}), "no backend")
	for user, nc := range map[string]*nats.Conn{"debug": debug.nc, "authz": authz.nc, "backend": rooms.nc} {
		if err := nc.LastError(); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	if log := g.stderr.String(); strings.Contains(strings.ToLower(log), "permission") || strings.Contains(log, "gateway-pw") {
		t.Errorf("the gateway's log holds a missing permission or the password:\n%s", log)
	}
}

// TestNATSPermissionsOfPresence: with the documented permissions gateway, presence-svc and a backend do all of presence.
func TestNATSPermissionsOfPresence(t *testing.T) {
	server := startDocumented(t)
	authz := connectBackend(t, server.as("authz"))
	authz.answer("phx.authz.connect", `{"allow":true,"id":"user:1"}`)
	authz.answer("phx.authz.join", `{"status":"ok","presence":{"key":"ann","meta":{"st":"on"}}}`)
	svc := startPresence(t, server.as("presence"))
	rooms := connectBackend(t, server.as("backend"), nats.CustomInboxPrefix("_INBOX.backend"))
	g := startGateway(t, server.as("gateway"), permissionRules, "CONNECT_AUTH=authz")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	var roster phxtest.Roster
	c.WantRoster(&roster, "room:1", "ann", 0)
	if list := rooms.ask(t, "phx.presence.list.room.1", ""); !strings.Contains(list, `"ann":{"metas":[{"phx_ref":`) {
		t.Errorf("list: %s", list)
	}
	svc.mustLive(t)
	for _, p := range []*gateway{g, svc} {
		if log := p.stderr.String(); strings.Contains(strings.ToLower(log), "permission") || strings.Contains(log, "-pw") {
			t.Errorf("a log holds a missing permission or a password:\n%s", log)
		}
	}
}

// TestNATSPermissionsRefuse: the documented permissions hold nothing that a
// program does not need.
func TestNATSPermissionsRefuse(t *testing.T) {
	server := startDocumented(t)
	for _, user := range []struct {
		name                                 string
		publish, subscribe                   []string // permitted
		refusedToPublish, refusedToSubscribe []string
	}{
		{
			name: "gateway",
			publish: []string{"phx.topic.other.x", "phx.event.ping.a", "phx.joined.a", "phx.left.a", "phx.dropped", "phx.authz.join", "phx.authz.joins", "phx.fleet.probe.g.1", "phx.fleet.gateway.g",
				"$KV.phx_presence.g=1.1.a", "phx.presence.check.1", "phx.presence.hello"},
			// A trailing * in a subscribe list permits > too.
			subscribe: []string{"phx.topic.other.x", "phx.channel.g.>", "phx.socket.*", "phx.socket.>", "phx.authz.recheck.>", "_INBOX.phxgate.g.r.*", "phx.fleet.probe.g.1", "phx.fleet.gateway.*",
				"phx.presence.gateway.g", "phx.presence.sync"},
			refusedToPublish: []string{"phx.channel.a.b.c", "phx.socket.a", "phx.fleet.gateway.g.x", "phx.gateway.lost", "_INBOX.phxgate.g.r.1", "_INBOX.a", "$JS.API.INFO", "$JS.API.STREAM.PURGE.KV_phx_presence",
				"phx.presence.sync", "phx.presence.gateway.g", "phx.presence.update.a", "$KV.other.a", "phx.authz.recheck.topic.a"},
			refusedToSubscribe: []string{"phx.event.>", "phx.authz.connect", "phx.authz.joins", "phx.>", "phx.presence.log.>", "phx.presence.check.*", "_INBOX.>", ">"},
		},
		{
			name:               "authz",
			publish:            []string{"phx.authz.recheck.topic.room.1", "phx.authz.recheck.socket.a"},
			subscribe:          []string{"phx.authz.connect", "phx.authz.join", "phx.authz.joins"},
			refusedToPublish:   []string{"phx.topic.room.1", "_INBOX.phxgate.g.r.1", "phx.socket.a", "_INBOX.a"},
			refusedToSubscribe: []string{"phx.authz.*", "phx.authz.>", "phx.topic.>", "_INBOX.phxgate.>", "_INBOX.>"},
		},
		{
			name:      "backend",
			publish:   []string{"phx.topic.room.1", "phx.channel.a.b.c", "phx.socket.a", "phx.authz.recheck.topic.room.1", "phx.authz.recheck.socket.a", "phx.presence.list.room.1", "phx.presence.update.room.1"},
			subscribe: []string{"_INBOX.backend.>", "phx.event.*.room.>", "phx.event.ping.room.1", "phx.topic.room.>", "phx.joined.room.>", "phx.left.room.>", "phx.gateway.lost"},
			refusedToPublish: []string{"phx.topic.other.x", "phx.topic.room", "phx.authz.join", "phx.authz.joins", "phx.authz.connect", "phx.authz.recheck.topic.other.x", "phx.event.ping.room.1", "phx.joined.room.1",
				"phx.left.room.1", "phx.gateway.lost", "phx.dropped", "phx.fleet.gateway.g", "_INBOX.phxgate.g.r.1", "phx.fleet.probe.g.1", "phx.channel.a", "$JS.API.INFO"},
			refusedToSubscribe: []string{"phx.event.>", "phx.event.ping.other.>", "phx.event.*.*.>", "phx.topic.>", "phx.topic.*.1", "phx.joined.>", "phx.channel.>",
				"phx.authz.join", "_INBOX.phxgate.>", "_INBOX.>"},
		},
		{
			name:               "presence",
			publish:            []string{"phx.topic.room.1", "phx.left.room.1", "phx.gateway.lost", "phx.presence.gateway.g", "phx.presence.sync", "phx.presence.replica"},
			subscribe:          []string{"phx.presence.log.>", "phx.presence.check.*", "phx.presence.list.>", "_INBOX.phxpresence.>"},
			refusedToPublish:   []string{"phx.channel.a.b.c", "phx.socket.a", "phx.event.ping.a", "_INBOX.a", "$JS.API.STREAM.DELETE.KV_phx_presence", "$JS.API.STREAM.CREATE.other"},
			refusedToSubscribe: []string{"phx.topic.room.1", "phx.presence.>", ">", "_INBOX.>", "phx.authz.join"},
		},
		{
			name:               "debug",
			subscribe:          []string{"phx.>", "phx.dropped", "phx.topic.room.1"},
			refusedToPublish:   []string{"phx.topic.room.1", "phx.socket.a", "_INBOX.phxgate.g.r.1", "_INBOX.a"},
			refusedToSubscribe: []string{">", "_INBOX.>", "$JS.>"},
		},
	} {
		nc := connectBackend(t, server.as(user.name)).nc
		nc.SetErrorHandler(nil) // denied has what it would print
		check := func(verb string, subjects []string, refused bool, try func(*testing.T, *nats.Conn, string) error) {
			for _, subject := range subjects {
				if err := try(t, nc, subject); (err != nil) != refused {
					t.Errorf("%s, %s %s: error %v, want one: %t", user.name, verb, subject, err, refused)
				}
			}
		}
		check("publish", user.publish, false, deniedPublish)
		check("publish", user.refusedToPublish, true, deniedPublish)
		check("subscribe", user.subscribe, false, deniedSubscribe)
		check("subscribe", user.refusedToSubscribe, true, deniedSubscribe)
	}
}

// TestNATSOneAnswer: a service may answer what it was asked, once, and
// nowhere else.
func TestNATSOneAnswer(t *testing.T) {
	server := startDocumented(t)
	authz := connectBackend(t, server.as("authz"))
	authz.nc.SetErrorHandler(nil)
	requests := authz.listen("phx.authz.connect")
	g := startGateway(t, server.as("gateway"), permissionRules, "CONNECT_AUTH=authz")
	dialed := make(chan struct{})
	go func() {
		defer close(dialed)
		_, _, _, _ = handshake(g, "/socket/websocket?vsn=2.0.0")
	}()
	request := next(t, requests)
	if err := denied(t, authz.nc, func() error { return request.Respond([]byte(`{"allow":false}`)) }); err != nil {
		t.Errorf("the answer: %v", err)
	}
	<-dialed
	if err := denied(t, authz.nc, func() error { return request.Respond([]byte(`{"allow":true}`)) }); err == nil {
		t.Error("a second answer was permitted")
	}
}

// TestNATSPermissionMissing: a join whose topic the gateway may not subscribe to
// fails, and no other; the log names the subject, at a limited rate.
func TestNATSPermissionMissing(t *testing.T) {
	server := startDocumented(t, `"phx.topic.>", "phx.channel.>"`, `"phx.topic.open.known.>", "phx.channel.>"`)
	g := startGateway(t, server.as("gateway"), permissionRules)
	c := g.dial(t)
	const topics = 40
	var secret, known []string
	for i := range topics {
		secret = append(secret, c.StartJoin(fmt.Sprintf("open:secret:%d", i), struct{}{}))
		known = append(known, c.StartJoin(fmt.Sprintf("open:known:%d", i), struct{}{}))
	}
	for i := range topics {
		wantError(t, c, secret[i], "unavailable")
		c.WantReply(known[i], "ok")
	}
	c.Heartbeat()
	lines := 0
	for line := range strings.Lines(g.stderr.String()) {
		if strings.Contains(line, `Permissions Violation for Subscription to \"phx.topic.open.secret.`) {
			lines++
		}
	}
	if lines == 0 || lines > topics/2 {
		t.Errorf("%d lines of the log name a subject, want some but at most %d", lines, topics/2)
	}
	if status, body := g.readyz(); status != 200 {
		t.Errorf("readyz %d %q: one topic does not make a gateway unready", status, body)
	}
}
