package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const drainRules = `
channels:
  - topic: "room:*"
    events:
      - {event: new_msg, do: broadcast}
`

// drainLinger is PRESENCE_LINGER: shorter than the default, since the test waits until it is over.
const drainLinger = 3 * time.Second

// TestDrainUnnoticed drains each gateway that serves users behind a balancer. They are back on another one with their channels, by themselves, and who watches sees nobody leave or join:
// not then, and not when what the drained gateway left is taken away.
func TestDrainUnnoticed(t *testing.T) {
	needNode(t)
	url := phxtest.StartNATS(t)
	clustertest.StartPresence(t, url, "phx", 50*time.Millisecond, 1)
	startTracking(t, url)
	settings := []string{"PRESENCE_LINGER=" + drainLinger.String(), "DRAIN_TIMEOUT=10s"}
	f := startFleet(t, url, drainRules, settings...)
	port := freePorts(t, 2)
	stays := startProcess(t, nil, append(f.settings, "GATEWAY_ID=stays", "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+1))...)
	waitForOK(t, "http://"+local(port+1)+"/readyz")

	const drains = 2
	s := runScript(t, "drain.mjs", map[string]any{
		"client": "phoenix18", "url": socketURL(f.addr), "watch": socketURL(local(port)), "topic": "room:drain", "users": 6, "drains": drains,
		"patience": (2 * phxtest.Patience()).Milliseconds(),
	}, phxtest.Scaled(time.Minute))
	var serving struct{ Gateways []string }
	s.want("joined", &serving)
	for range drains {
		drained := serving.Gateways[0]
		f.members[drained].signal(syscall.SIGTERM)
		s.tell(drained)
		s.want("back", &serving)
		if slices.Contains(serving.Gateways, drained) {
			t.Errorf("users are back on %s, which was drained: %v", drained, serving.Gateways)
		}
		f.members[drained].wantEnd(0)
		f.replace(drained)
	}
	over := time.NewTimer(drainLinger + phxtest.Scaled(2*time.Second)) // nothing must happen in this time
	defer over.Stop()
	<-over.C
	s.tell("over")
	s.wantOK("unnoticed")
	s.wantEnd()
	stays.end()
}

// startTracking answers connects and joins: a socket is its user's, and its channels are tracked under that name.
func startTracking(t *testing.T, natsURL string) {
	t.Helper()
	nc := dialNATS(t, natsURL)
	for subject, decide := range map[string]func(*request) any{
		"phx.authz.connect": func(r *request) any {
			user, _ := r.Params["user"].(string)
			return map[string]any{"allow": true, "id": "user:" + user, "assigns": map[string]any{"user": user}}
		},
		"phx.authz.join": func(r *request) any {
			gateway, _, _ := strings.Cut(r.Channel, ".")
			return map[string]any{
				"status": "ok", "response": map[string]any{"gateway": gateway}, "presence": map[string]any{"key": r.Socket.Assigns["user"], "meta": map[string]any{}},
			}
		},
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
			var r request
			err := json.Unmarshal(m.Data, &r)
			if err == nil {
				var answer []byte
				if answer, err = json.Marshal(decide(&r)); err == nil {
					err = m.Respond(answer)
				}
			}
			if err != nil {
				t.Errorf("%s: %v", subject, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, nc)
}
