package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestServerRestart: after NATS went and came back the gap is told, and topics live again by themselves.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 1)
	b, r := startBus(t, servers.URL(0))
	subscribe(t, b, "room:a", "room:b")
	b.Unsubscribe("room:b")
	subscribe(t, b, "room:c")
	servers.Restart(0)
	waitFor(t, "the gap", func() bool { return r.count("gap") > 0 })
	waitFor(t, "the bus is up", func() bool { return b.Available() })
	nc := backend(t, servers.URL(0))
	for topic, subject := range map[string]string{"room:a": "phx.topic.room.a", "room:c": "phx.topic.room.c"} {
		arrives(t, nc, r, subject, "topic "+topic+" back {}")
	}
	publish(t, nc, "phx.topic.room.b", `{"event":"back","payload":{}}`)
	subscribe(t, b, "room:d") // as before
	arrives(t, nc, r, "phx.topic.room.d", "topic room:d back {}")
	if r.count("topic room:b back {}") != 0 {
		t.Error("an unsubscribed topic came back")
	}
	if b.stats.Reconnects.Load() == 0 || !b.everUp.Load() {
		t.Error("no reconnect was counted")
	}
}

// arrives publishes until the line is noted: the server may take a publish before the subscriptions of another connection that came back.
func arrives(t *testing.T, nc *natsgo.Conn, r *recorder, subject, line string) {
	t.Helper()
	waitFor(t, line, func() bool {
		publish(t, nc, subject, `{"event":"back","payload":{}}`)
		return r.count(line) > 0
	})
}

// TestBeforeNATSIsThere: a gateway may be started first.
func TestBeforeNATSIsThere(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 1)
	servers.Stop(0)
	r := &recorder{}
	b := dialBus(t, servers.URL(0))
	if err := b.Start(r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBus(b) })
	if b.Available() || b.Ready(time.Hour) == nil {
		t.Fatal("up without a server")
	}
	servers.Restart(0)
	waitFor(t, "the bus is up", func() bool { return b.Available() })
	subscribe(t, b, "room:a")
	nc := backend(t, servers.URL(0))
	arrives(t, nc, r, "phx.topic.room.a", "topic room:a back {}")
	publish(t, nc, "phx.socket.ann", "", "Phx-Action", "disconnect")
	waitFor(t, "the fixed subscriptions", func() bool { return r.count("socket ann") == 1 })
}

// TestReplacedConnection: a connection that nats.go gives up for good is replaced, with all subscriptions.
func TestReplacedConnection(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	subscribe(t, b, "room:a")
	first := b.nc()
	if err := first.Publish(strings.Repeat("s", 5000), nil); err != nil { // longer than a protocol line may be
		t.Fatal(err)
	}
	waitFor(t, "nats.go gives up", first.IsClosed)
	waitFor(t, "another connection", func() bool { return b.Available() && b.nc() != first })
	waitFor(t, "the gap is told", func() bool { return r.count("gap") > 0 })
	nc := backend(t, url)
	arrives(t, nc, r, "phx.topic.room.a", "topic room:a back {}")
	publish(t, nc, "phx.socket.ann", "", "Phx-Action", "disconnect")
	waitFor(t, "the fixed subscriptions", func() bool { return r.count("socket ann") == 1 })
	subscribe(t, b, "room:b")
	b.Unsubscribe("room:a")
}

// TestClusterBroadcast: buses on different servers of a cluster hear each other.
func TestClusterBroadcast(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 2)
	buses := make([]*Bus, 2)
	recorders := make([]*recorder, 2)
	for i := range buses {
		buses[i], recorders[i] = startBus(t, servers.URL(i))
		subscribe(t, buses[i], "room:a")
	}
	for i := range buses {
		nc := backend(t, servers.URL(i))
		event := fmt.Sprintf("from%d", i)
		for j, r := range recorders {
			line := "topic room:a " + event + " {}"
			waitFor(t, fmt.Sprintf("%s at %d", line, j), func() bool {
				publish(t, nc, "phx.topic.room.a", `{"event":"`+event+`","payload":{}}`)
				return r.count(line) > 0
			})
		}
	}
}
