package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// proven waits until the bus's prober knows of n other servers that answer.
func proven(t *testing.T, b *Bus, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d other servers that answer", n), func() bool {
		answering := 0
		b.prober.mu.Lock()
		defer b.prober.mu.Unlock()
		for _, l := range b.prober.links {
			if l.connected && l.state == linkProven && !l.leadsTo(b.prober.own) {
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

// TestClusterServerSilent: a server that does not answer probes holds up a subscription no longer than it may; when it answers again, the topics that were confirmed without it
// have a gap, and no others.
func TestClusterServerSilent(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 2)
	b, r := startBus(t, servers.URL(0))
	proven(t, b, 1)
	subscribe(t, b, "room:before", "room:again")
	answering := silence(b)
	begun := time.Now()
	subscribe(t, b, "room:a")
	if held := time.Since(begun); held < probeTimeout/2 {
		t.Errorf("confirmed after %v: the server was not waited for", held)
	}
	subscribe(t, b, "room:b", "room:again") // the server is not waited for any more
	proven(t, b, 0)
	answering()
	proven(t, b, 1)
	subscribe(t, b, "room:after")
	for _, topic := range []string{"room:a", "room:b", "room:again"} {
		waitFor(t, "the gap of "+topic, func() bool { return r.count("gap "+topic) == 1 })
	}
	if n := r.len(); n != 3 {
		t.Errorf("%d lines, want three gaps: %q", n, r.lines)
	}
}

// silence has every other server's probes go astray until the function that it returns is called.
func silence(b *Bus) (answering func()) {
	change := func(to func(string) string) {
		b.prober.mu.Lock()
		defer b.prober.mu.Unlock()
		for _, l := range b.prober.links {
			l.subject = to(l.subject)
		}
	}
	const astray = ".astray"
	change(func(s string) string { return s + astray })
	return func() { change(func(s string) string { return strings.TrimSuffix(s, astray) }) }
}

// TestClusterMainMoves: the server that the main connection left is waited for from then on, and one that nobody can have published at makes no gap when it is back.
func TestClusterMainMoves(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 3)
	b, r := startBus(t, servers.URL(0))
	proven(t, b, 2)
	subscribe(t, b, "room:a")
	servers.Stop(0)
	waitFor(t, "the gap", func() bool { return r.count("gap") == 1 })
	proven(t, b, 1)
	subscribe(t, b, "room:a", "room:b")
	servers.Restart(0)
	proven(t, b, 2)
	subscribe(t, b, "room:c")
	if n := r.len(); n != 1 {
		t.Errorf("%d lines, want one gap of all: %q", n, r.lines)
	}
}

// TestServerStartedAnew: of the rounds that ended without a server, those matter in which it may have been there.
func TestServerStartedAnew(t *testing.T) {
	for name, test := range map[string]struct {
		first, last uint64 // rounds without it
		failed      [2]uint64
		want        uint64 // the first that matters; 0: none
	}{
		"never tried":                         {3, 9, [2]uint64{}, 3},
		"tried once: it may have started":     {3, 9, [2]uint64{0, 7}, 3},
		"tried twice":                         {3, 9, [2]uint64{6, 7}, 7},
		"tried after the last round":          {3, 9, [2]uint64{9, 9}, 0},
		"tried before the first, long ago":    {3, 9, [2]uint64{1, 2}, 3},
		"one round, between the two tries":    {5, 5, [2]uint64{4, 5}, 5},
		"one round, before either of the two": {5, 5, [2]uint64{5, 5}, 0},
	} {
		l := &probeLink{leftOut: test.first, leftOutLast: test.last, failed: test.failed}
		if l.startedAnew(); l.leftOut != test.want {
			t.Errorf("%s: from round %d on, want %d", name, l.leftOut, test.want)
		}
	}
}
