package nats

import (
	"fmt"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// proven waits until the bus's prober knows of n other servers that answer.
func proven(t *testing.T, b *Bus, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d other servers that answer", n), func() bool {
		answering := 0
		for _, l := range b.prober.needed() {
			if l.proven.Load() {
				answering++
			}
		}
		return answering == n
	})
}

// TestClusterConfirmation: a subscription is confirmed only when every server of the cluster has it. Without probes some 7% of these are missed.
func TestClusterConfirmation(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 3)
	b, r := startBus(t, servers.URL(0))
	proven(t, b, 2)
	other := []int{1, 2}
	backends := map[int]interface {
		Publish(string, []byte) error
		Flush() error
	}{}
	for _, i := range other {
		backends[i] = backend(t, servers.URL(i))
	}
	const topics = 500
	for n := range topics {
		topic := fmt.Sprintf("room:%d", n)
		subscribe(t, b, topic)
		for _, i := range other {
			if err := backends[i].Publish(fmt.Sprintf("phx.topic.room.%d", n), []byte(fmt.Sprintf(`{"event":"from%d","payload":{}}`, i))); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range other {
			if err := backends[i].Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, i := range other {
		// What was published later on the same connection is here: so is everything before it that is not lost.
		last := fmt.Sprintf("topic room:%d from%d {}", topics-1, i)
		waitFor(t, last, func() bool { return r.count(last) == 1 })
		for n := range topics {
			if line := fmt.Sprintf("topic room:%d from%d {}", n, i); r.count(line) != 1 {
				t.Errorf("%s came %d times", line, r.count(line))
			}
		}
	}
}

// TestClusterServerGone: a server that died holds up no subscription, and counts again when it is back.
func TestClusterServerGone(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 3)
	b, _ := startBus(t, servers.URL(0))
	proven(t, b, 2)
	servers.Stop(2)
	proven(t, b, 1)
	subscribe(t, b, "room:a")
	servers.Restart(2)
	proven(t, b, 2)
	subscribe(t, b, "room:b")
}
