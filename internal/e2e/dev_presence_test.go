package e2e

import (
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestDevPresence: `gateway dev` serves presence without anything beside it, also over a fleet.
func TestDevPresence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		gateways int
		args     []string
	}{{"one", 1, nil}, {"fleet", 2, []string{"--gateways", "2"}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := startDev(t, c.gateways, c.args...)
			last := port
			if c.gateways > 1 {
				last = port + c.gateways
			}
			ann, bob := phxtest.Dial(t, devSocket(port, "ann")), phxtest.Dial(t, devSocket(last, "bob"))
			var a, b phxtest.Roster
			ann.Join("room:lobby", struct{}{})
			ann.WantRoster(&a, "room:lobby", "user:ann", 2*phxtest.Patience())
			bob.Join("room:lobby", struct{}{})
			bob.WantRoster(&b, "room:lobby", "user:ann user:bob", 2*phxtest.Patience())
			ann.WantRoster(&a, "room:lobby", "user:ann user:bob", 2*phxtest.Patience())
			bob.Leave("room:lobby")
			ann.WantRoster(&a, "room:lobby", "user:ann", 2*phxtest.Patience())
		})
	}
}

func devSocket(port int, name string) string {
	return "ws://" + local(port) + "/socket/websocket?vsn=2.0.0&name=" + name
}
