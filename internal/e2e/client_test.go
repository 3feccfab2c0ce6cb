package e2e

import (
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// versions are the clients under test, by the names that js/package.json gives them.
var versions = []string{"phoenix16", "phoenix17", "phoenix18"}

// TestClient runs the scenarios of js/client.mjs with each version of the client.
func TestClient(t *testing.T) {
	needNode(t)
	url := phxtest.StartNATS(t)
	app := phxtest.StartApp(t, url, "phx")
	clustertest.StartPresence(t, url, "phx", 50*time.Millisecond, 1)
	fleet := clustertest.Start(t, clustertest.Options{Gateways: 2, NATS: []string{url}, Rules: app.RulesYAML()})
	startService(t, url, "door")
	door := clustertest.Start(t, clustertest.Options{NATS: []string{url}, Prefix: "door", Rules: app.RulesYAML()})
	target := map[string]any{
		"a": socketURL(fleet.Gateways[0].Addr), "b": socketURL(fleet.Gateways[1].Addr), "door": socketURL(door.Gateways[0].Addr),
		"patience": phxtest.Patience().Milliseconds(),
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			target["client"] = version
			s := runScript(t, "client.mjs", target, phxtest.Scaled(time.Minute))
			var plan struct{ Scenarios []string }
			s.want("plan", &plan)
			if len(plan.Scenarios) < 15 {
				t.Fatalf("the script has %d scenarios", len(plan.Scenarios))
			}
			for _, name := range plan.Scenarios {
				f, ok := s.next()
				if !ok || f.Name != name {
					_ = s.wait() // whatever it is, the finding is the failure
					t.Fatalf("want the finding %q, got %s\n%s", name, f.fields, s.stderr.String())
				}
				t.Run(name, func(t *testing.T) {
					var result struct {
						OK    bool
						Error string
					}
					if f.into(t, &result); !result.OK {
						t.Error(result.Error)
					}
				})
			}
			if t.Failed() {
				_ = s.wait() // it has failed as its scenarios have
				t.Fatal(s.stderr.String())
			}
			s.wantEnd()
		})
	}
}

// socketURL is the endpoint that a page gives to Socket; the client adds /websocket.
func socketURL(addr string) string { return "ws://" + addr + "/socket" }
