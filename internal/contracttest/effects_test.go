package contracttest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// What GAP_SPREAD, NATS_INBOX_BYTES, GATEWAY_ID, LOG_LEVEL and the settings of presence do; TestHelp and TestBadSettings say how they are read.

func TestGapSpread(t *testing.T) {
	t.Parallel()
	const channels = 20
	nats := phxtest.StartCluster(t, 1)
	g := startGateway(t, nats.URL(0), everything, "GAP_SPREAD=2s")
	c := g.dial(t)
	for n := range channels {
		c.Join(fmt.Sprintf("room:%d", n), struct{}{})
	}
	nats.Stop(0)
	nats.Restart(0)
	var first time.Time
	for n := range channels {
		c.WantUntil(`[{"$type":"string"},{"$type":"string"},{"$type":"string"},"phx_error",{"$type":"object"}]`)
		if n == 0 {
			first = time.Now()
		}
	}
	// That all 20 fall into the same quarter of the time by chance is one in 4^19.
	if took := time.Since(first); took < 500*time.Millisecond || took > phxtest.Scaled(3*time.Second) {
		t.Errorf("%d channels were told to rejoin within %v, want them spread over 2 s", channels, took)
	}
}

// What is beyond NATS_INBOX_BYTES is a gap of every topic.
func TestInboxOverflows(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels: [{topic: "*", join: allow, on_gap: notify}]`, "NATS_INBOX_BYTES=1000")
	flooded, other := g.dial(t), g.dial(t)
	flooded.Join("room:1", struct{}{})
	other.Join("room:2", struct{}{})
	body := `{"a":"` + strings.Repeat("x", 900) + `"}`
	waitFor(t, "an inbox that is full", func() bool {
		for range 1000 {
			b.publish("phx.topic.room.1", body, "Phx-Event", "m")
		}
		b.flush()
		flooded.Drain()
		return g.count(t, `phxgate_nats_dropped_total{reason="inbox full"}`) > 0
	})
	other.WantEvent("room:2", "gap", `{}`)
	waitFor(t, "the flooded topic to be whole again", func() bool {
		b.publish("phx.topic.room.1", `{}`, "Phx-Event", "after")
		return hasEvent(flooded, "after")
	})
}

func TestGatewayID(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	joined := connectBackend(t, url).listen("phx.joined.>")
	nameOf := func(settings ...string) string {
		c := startGateway(t, url, everything, settings...).dial(t)
		c.Join("room:1", struct{}{})
		name, _, _ := strings.Cut(next(t, joined).Header.Get("Phx-Channel"), ".")
		return name
	}
	if name := nameOf("GATEWAY_ID=my-gateway_1"); name != "my-gateway_1" {
		t.Errorf("channel ids begin with %q", name)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if one, other := nameOf(), nameOf(); one == other || len(host) <= 40 && !strings.Contains(host, ".") && (!strings.HasPrefix(one, host) || !strings.HasPrefix(other, host)) {
		t.Errorf("two gateways on %s are named %q and %q", host, one, other)
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	connectBackend(t, url).answer("phx.authz.connect", `{"allow":false,"reason":"why not"}`)
	for level, want := range map[string]struct{ there, absent string }{
		"debug": {"why not", "level=NONE"}, // a reason is for the log
		"info":  {"level=INFO", "level=DEBUG"},
		"error": {"", "level=INFO"},
	} {
		g := startGateway(t, url, everything, "LOG_LEVEL="+level, "CONNECT_AUTH=authz")
		phxtest.WantRefused(t, g.url("vsn=2.0.0"), 403)
		waitFor(t, level+": "+want.there, func() bool { return strings.Contains(g.stderr.String(), want.there) })
		if text := g.stderr.String(); strings.Contains(text, want.absent) {
			t.Errorf("%s: want no %q in\n%s", level, want.absent, text)
		}
	}
}

// The first change of a quiet topic goes at once, those that come within PRESENCE_MERGE are one diff; 0s: each is its own.
func TestPresenceMerge(t *testing.T) {
	t.Parallel()
	const people = 10
	for merge, most := range map[string]int{"2s": 4, "0s": people} {
		t.Run(merge, func(t *testing.T) {
			t.Parallel()
			url := phxtest.StartNATS(t)
			b := connectBackend(t, url)
			startPresence(t, url, "PRESENCE_MERGE="+merge)
			g := startGateway(t, url, presenceRules)
			diffs := b.listen("phx.topic.lobby.1")
			watcher := g.dial(t)
			var seen phxtest.Roster
			watcher.Join("lobby:1", struct{}{})
			began := time.Now()
			for n := range people {
				g.dial(t).Join("lobby:1", map[string]string{"user": fmt.Sprintf("u%d", n)})
			}
			took := time.Since(began)
			watcher.WantRoster(&seen, "lobby:1", "u0 u1 u2 u3 u4 u5 u6 u7 u8 u9", gone)
			b.flush()
			n, _, err := diffs.Pending()
			if err != nil || n > most+int(took/(2*time.Second)) || merge == "0s" && n != people {
				t.Errorf("%d changes in %v were %d diffs (%v), want %d or fewer", people, took, n, err, most)
			}
		})
	}
}

func TestPresenceBucket(t *testing.T) {
	t.Parallel()
	cluster := phxtest.StartCluster(t, 3)
	cluster.WaitForJetStream()
	b := connectBackend(t, cluster.URL(0))
	js, err := jetstream.New(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		prefix   string
		settings []string
		storage  jetstream.StorageType
		replicas int
	}{
		{"one", nil, jetstream.FileStorage, 1},
		{"two", []string{"PRESENCE_REPLICAS=3", "PRESENCE_STORAGE=memory"}, jetstream.MemoryStorage, 3},
	} {
		startPresence(t, cluster.URLs(), append(test.settings, "SUBJECT_PREFIX="+test.prefix)...)
		ctx, cancel := context.WithTimeout(t.Context(), phxtest.Patience())
		defer cancel()
		found := 0
		streams := js.ListStreams(ctx)
		for info := range streams.Info() {
			if c := info.Config; strings.HasPrefix(c.Name, "KV_"+test.prefix) {
				found++
				if c.Storage != test.storage || c.Replicas != test.replicas {
					t.Errorf("%s: %v with %d replicas, want %v with %d", c.Name, c.Storage, c.Replicas, test.storage, test.replicas)
				}
			}
		}
		if streams.Err() != nil || found == 0 {
			t.Errorf("prefix %s: %d buckets (%v)", test.prefix, found, streams.Err())
		}
	}
}

// Without a linger a channel that the gateway ended is gone for the others at once.
func TestPresenceWithoutLinger(t *testing.T) {
	t.Parallel()
	gs, _, _ := presenceSetup(t, 2, "PRESENCE_LINGER=0s")
	o, c := gs[1].dial(t), gs[0].dialAs(t, "s1")
	var r phxtest.Roster
	o.Join("room:1", as("bob"))
	params := as("ann").(map[string]any)
	params["expires"] = time.Now().Unix() + 2
	c.Join("room:1", params)
	o.WantRoster(&r, "room:1", "ann bob", 0)
	c.WantUntil([]any{"1", "1", "room:1", "phx_error", map[string]any{"reason": "channel_crash"}})
	o.WantRoster(&r, "room:1", "bob", gone)
}

// Orders to authorize anew are carried out at a pace, all of them in the end.
func TestRechecksPerSecond(t *testing.T) {
	t.Parallel()
	const channels, rate = 12, 5
	g, b := setup(t, authzRules, fmt.Sprintf("AUTHZ_RECHECKS_PER_SECOND=%d", rate))
	b.answer("phx.authz.join", `{"status":"ok"}`)
	for range channels {
		g.dial(t).Join("room:1", struct{}{})
	}
	requests := b.listen("phx.authz.join")
	b.publish("phx.authz.recheck.topic.room.1", "")
	next(t, requests)
	began := time.Now()
	for range channels - 1 {
		next(t, requests)
	}
	if took := time.Since(began); took < (channels-2)*time.Second/rate {
		t.Errorf("%d channels were asked about within %v, want %d a second", channels, took, rate)
	}
}

// DRAIN_RATE makes a drain longer than DRAIN_SPREAD.
func TestDrainRate(t *testing.T) {
	t.Parallel()
	const sockets, rate = 12, 5
	g, _ := setup(t, everything, fmt.Sprintf("DRAIN_RATE=%d", rate), "DRAIN_SPREAD=100ms")
	var all sync.WaitGroup
	var closed [sockets]time.Time
	var clients []*phxtest.Client
	for range sockets {
		clients = append(clients, g.dial(t))
	}
	g.signal(syscall.SIGTERM)
	for i, c := range clients {
		all.Go(func() {
			c.WantClosed(1012)
			closed[i] = time.Now()
		})
	}
	all.Wait()
	first, last := slices.MinFunc(closed[:], time.Time.Compare), slices.MaxFunc(closed[:], time.Time.Compare)
	if took := last.Sub(first); took < (sockets-3)*time.Second/rate {
		t.Errorf("%d sockets were closed within %v, want %d a second", sockets, took, rate)
	}
}

// A gateway that has more than its share of a fleet that has settled sheds some of it; one without the setting keeps what it has.
func TestShedTolerance(t *testing.T) {
	t.Parallel()
	const sockets, settles = 60, 30 * time.Second // 30 more than the mean, of which chance alone explains 16
	url := phxtest.StartNATS(t)
	full := startGateway(t, url, everything, "SHED_TOLERANCE=20%", "IDLE_TIMEOUT=10m")
	startGateway(t, url, everything, "SHED_TOLERANCE=20%")
	for range sockets {
		full.dial(t)
	}
	shed := func() int { return full.count(t, `phxgate_sockets_ended_total{cause="shed"}`) }
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); shed() == 0 && time.Since(began) < phxtest.Scaled(settles+15*time.Second); <-tick.C {
	}
	if n := shed(); n == 0 || n > sockets/2 {
		t.Errorf("%d sockets were shed, want some of the surplus", n)
	}
}
