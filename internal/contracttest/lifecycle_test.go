package contracttest

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	nats := phxtest.StartCluster(t, 1)
	nats.Stop(0)
	g := launchGateway(t, nats.URL(0), everything, "READY_GRACE=1s")
	waitFor(t, "healthz", func() bool { status, _ := get("http://" + g.admin + "/healthz"); return status == http.StatusOK })
	if status, body := g.readyz(); status != 503 || body == "" {
		t.Errorf("before NATS is there: %d %q, want 503 and why", status, body)
	}
	nats.Restart(0)
	g.waitForReady(200)
	c := g.dial(t)
	c.Join("room:1", struct{}{})

	gone := time.Now()
	nats.Stop(0)
	for time.Since(gone) < 800*time.Millisecond { // a hiccup makes nobody unready
		if status, body := g.readyz(); status != 200 && time.Since(gone) < 900*time.Millisecond {
			t.Fatalf("%v after NATS went: %d %s", time.Since(gone), status, body)
		}
	}
	g.waitForReady(503)
	if took := time.Since(gone); took > phxtest.Scaled(3*time.Second) {
		t.Errorf("unready after %v, want about READY_GRACE", took)
	}
	if status, _ := get("http://" + g.admin + "/healthz"); status != 200 {
		t.Errorf("healthz %d while NATS is away", status)
	}
	nats.Restart(0)
	g.waitForReady(200)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "DRAIN_TIMEOUT=5s")
	left := b.listen("phx.left.>")
	joined, bare, stubborn := g.dial(t, phxtest.Name("joined")), g.dialV1(t, phxtest.Name("bare")), g.dial(t, phxtest.Name("stubborn"), phxtest.NoCloseReply())
	joined.Join("room:1", struct{}{})
	stubborn.Join("room:1", struct{}{})
	start := time.Now()
	g.signal(syscall.SIGTERM)
	joined.WantClosed(1012)
	bare.WantClosed(1012)
	stubborn.WantClosed(1012)
	// The process may be gone by now; as long as it is there it is not ready
	// and takes no sockets.
	if status, _ := g.readyz(); status != 503 && status != 0 {
		t.Errorf("readyz %d while draining", status)
	}
	if conn, err := tryUpgrade(g); err == nil && conn == http.StatusSwitchingProtocols {
		t.Error("a new socket while draining")
	}
	for _, c := range []*phxtest.Client{joined, bare, stubborn} {
		c.WantEnded()
	}
	for range 2 {
		if msg := next(t, left); string(msg.Data) != `{"reason":"drained"}` {
			t.Errorf("left: %s", msg.Data)
		}
	}
	if status := g.wantExit(time.Until(start.Add(5*time.Second + phxtest.Scaled(500*time.Millisecond)))); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
}

// SIGTERM ends also a gateway that waits for NATS, and one whose backend does
// not answer, in time.
func TestDrainInTrouble(t *testing.T) {
	t.Parallel()
	t.Run("no NATS", func(t *testing.T) {
		t.Parallel()
		g := launchGateway(t, "nats://"+freeAddress(t), everything, "DRAIN_TIMEOUT=2s")
		waitFor(t, "healthz", func() bool { status, _ := get("http://" + g.admin + "/healthz"); return status == 200 })
		g.signal(syscall.SIGTERM)
		if status := g.wantExit(2*time.Second + phxtest.Scaled(500*time.Millisecond)); status != 0 {
			t.Errorf("exit status %d, want 0", status)
		}
	})
	t.Run("silent backend", func(t *testing.T) {
		t.Parallel()
		g, b := setup(t, callsOnly, "DRAIN_TIMEOUT=2s")
		events := b.listen("phx.event.>")
		c := g.dial(t)
		c.Join("room:1", struct{}{})
		c.Push("room:1", "ask", struct{}{})
		next(t, events)
		g.signal(syscall.SIGTERM)
		if status := g.wantExit(2*time.Second + phxtest.Scaled(500*time.Millisecond)); status != 0 {
			t.Errorf("exit status %d, want 0", status)
		}
		c.WantClosed(1012)
	})
}

// NATS goes and comes back: sockets stay open, on_gap decides what each
// channel is told, and topics work again.
func TestNATSRestart(t *testing.T) {
	t.Parallel()
	nats := phxtest.StartCluster(t, 1)
	g := startGateway(t, nats.URL(0), `channels:
  - {topic: "default:*", join: allow, events: [{event: "*", do: call}]}
  - {topic: "rejoin:*", join: allow, on_gap: rejoin}
  - {topic: "notify:*", join: allow, on_gap: notify}
  - {topic: "ignore:*", join: allow, on_gap: ignore}
`)
	b := connectBackend(t, nats.URL(0))
	left := b.listen("phx.left.>")
	clients := map[string]*phxtest.Client{}
	for _, kind := range []string{"default", "rejoin", "notify", "ignore"} {
		clients[kind] = g.dial(t, phxtest.Name(kind))
		clients[kind].Join(kind+":1", struct{}{})
	}
	nats.Restart(0)
	for _, kind := range []string{"default", "rejoin"} {
		clients[kind].Want(fmt.Sprintf(`["1","1","%s:1","phx_error",{"$type":"object"}]`, kind))
		clients[kind].Join(kind+":1", struct{}{})
	}
	clients["notify"].Want(`["1",null,"notify:1","gap",{}]`)
	waitFor(t, "the backend to be back", func() bool { return b.nc.IsConnected() })
	b.flush()
	for kind, c := range clients {
		// What was sent to a gateway that is not back yet is lost; that is the gap.
		c.Heartbeat()
		waitFor(t, "a broadcast on "+kind, func() bool {
			b.publish("phx.topic."+kind+".1", `{}`, "Phx-Event", "again")
			b.flush()
			c.Heartbeat()
			return hasEvent(c, "again")
		})
	}
	for {
		msg, err := left.NextMsg(50 * time.Millisecond)
		if err != nil {
			break // published before this backend was back
		}
		if string(msg.Data) != `{"reason":"gap"}` {
			t.Errorf("%s %s, want gap", msg.Subject, msg.Data)
		}
	}
}

// hasEvent looks through what has been received so far.
func hasEvent(c *phxtest.Client, event string) bool {
	found := false
	ref := c.Push("phoenix", "heartbeat", struct{}{})
	for {
		m, err := phxtest.ParseMessage(c.Recv(phxtest.Patience()))
		if err != nil || m.Ref == ref {
			return found
		}
		found = found || m.Event == event
	}
}
