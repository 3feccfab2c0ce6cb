//go:build linux

package ceilings

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// lostRules track everybody in room:* under the join's user.
const lostRules = `channels:
  - {topic: "room:*", join: allow, presence: {key: params.user}}
`

// TestLostGateway kills a gateway with SIGKILL that holds a thousand tracked sockets, and says how long it takes until the last of the clients elsewhere has seen the last of them go: once,
// and twenty times with CEILINGS=full.
func TestLostGateway(t *testing.T) {
	dir := t.TempDir()
	for _, program := range []string{"gateway", "presence-svc"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, program), "../../cmd/"+program).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	natsURL := phxtest.StartNATS(t)
	service := exec.Command(filepath.Join(dir, "presence-svc"))
	service.Env = []string{"NATS_URL=" + natsURL, "ADMIN_LISTEN=127.0.0.1:0", "PRESENCE_STORAGE=memory"}
	service.Stderr = new(output)
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Kill()
		_ = service.Wait()
	})
	const observers = 20
	people := sized(1000)
	kills := 1
	if os.Getenv("CEILINGS") == "full" {
		kills = 20
	}
	stays := startGateway(t, filepath.Join(dir, "gateway"), natsURL, lostRules)
	var watching []*phxtest.Client
	for range observers {
		watching = append(watching, phxtest.Dial(t, "ws://"+stays.addr+"/socket/websocket?vsn=2.0.0"))
	}
	var times []time.Duration
	for round := range kills {
		topic := fmt.Sprintf("room:%d", round)
		dies := startGateway(t, filepath.Join(dir, "gateway"), natsURL, lostRules)
		rosters := make([]phxtest.Roster, observers)
		for _, c := range watching {
			c.Join(topic, struct{}{})
		}
		crowd := dial(t, dies.addr, people, 0)
		crowd.exchange(t, func(i int) []byte {
			return textFrame(fmt.Sprintf(`["1","1","%s","phx_join",{"user":"u%d"}]`, topic, i))
		}, func(_ int, s sock) error {
			_, err := readMessage(s)
			return err
		})
		for i, c := range watching {
			for rosters[i].Len() != people {
				c.TakeInto(&rosters[i], topic, c.Recv(2*phxtest.Patience()))
			}
		}
		killed := time.Now()
		if err := dies.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		var reading sync.WaitGroup
		for i, c := range watching {
			reading.Go(func() {
				for rosters[i].Len() > 0 && time.Since(killed) < phxtest.Scaled(5*time.Second) {
					if f, err := c.TryRecv(time.Second); err == nil {
						if m, err := phxtest.ParseMessage(f); err == nil && m.Topic == topic {
							_ = rosters[i].Take(m.Event, m.Payload)
						}
					}
				}
			})
		}
		reading.Wait()
		took := time.Since(killed)
		for i := range rosters {
			if n := rosters[i].Len(); n > 0 {
				t.Fatalf("client %d still sees %d of %d people after %v", i, n, people, took)
			}
		}
		times = append(times, took)
		crowd.close()
	}
	slices.Sort(times)
	t.Logf("%d people, %d clients elsewhere, %d kills: the last has seen the last go after %v (median), %v at most", people, observers, kills,
		times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
}
