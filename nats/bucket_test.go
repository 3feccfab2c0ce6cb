package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/internal/phxtest"
	"github.com/phxgate/phxgate/presence"
)

// TestBucketConfig: what presence rests on is set, also on a bucket that somebody made otherwise.
func TestBucketConfig(t *testing.T) {
	url := phxtest.StartNATS(t)
	nc := backend(t, url)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), phxtest.Patience())
	defer cancel()
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "phx_presence", History: 5, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	serve(t, url, "a", merge)
	stream, err := js.Stream(ctx, "KV_phx_presence")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.MaxMsgsPerSubject != 1 || !c.AllowMsgTTL || c.SubjectDeleteMarkerTTL != markerTTL || c.RePublish == nil || c.RePublish.Destination != "phx.presence.log.>" {
		t.Errorf("%+v", c)
	}
}

// TestBucketName: two prefixes never share a bucket.
func TestBucketName(t *testing.T) {
	for prefix, want := range map[string]string{"phx": "phx_presence", "acme.chat": "acme_2Echat_presence", "acme_2Echat": "acme_5F2Echat_presence", "a-B9": "a-B9_presence"} {
		if got := mustSubjects(t, prefix).Presence().Bucket(); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}

// TestBucketImpossible: what stands in the way is said, and the service waits.
func TestBucketImpossible(t *testing.T) {
	plain, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	plain.Start()
	t.Cleanup(func() { plain.Shutdown(); plain.WaitForShutdown() })
	if !plain.ReadyForConnections(phxtest.Patience()) {
		t.Fatal("NATS server: not ready")
	}
	for _, c := range []struct {
		url  string
		cfg  BucketConfig
		want string
	}{
		{plain.ClientURL(), BucketConfig{Replicas: 1}, "jetstream not enabled"},
		{phxtest.StartNATS(t), BucketConfig{Replicas: 3}, "PRESENCE_REPLICAS=3"},
	} {
		r := startReplica(t, c.url, "a", merge, c.cfg)
		waitFor(t, "the reason "+c.want, func() bool {
			err := r.bus.Loading()
			return err != nil && strings.Contains(err.Error(), c.want)
		})
		if r.Ready() {
			t.Errorf("%s, and it is ready", c.want)
		}
	}
}

// TestLogHoles: what the log did not bring is read from the stream, with the next message, and without one in time.
func TestLogHoles(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	a := serve(t, url, "a", merge)
	g := newScribe(t, url, "g1")
	g.register()
	g.put("1", "room:1", "ann")
	g.put("2", "room:1", "bob")
	waitForList(t, g.nc, "room:1", 2)
	js, err := jetstream.New(g.nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*phxtest.Patience())
	defer cancel()
	stream, err := js.Stream(ctx, "KV_phx_presence")
	if err != nil {
		t.Fatal(err)
	}
	with := stream.CachedInfo().Config
	without := with
	without.RePublish = nil
	set := func(c jetstream.StreamConfig) {
		t.Helper()
		if _, err := js.UpdateStream(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	set(without)
	g.put("3", "room:1", "eve")
	g.store("1", "room:1", nil)
	g.store("2", "room:1", nil)
	g.put("2", "room:1", "bob") // its removal before is gone from the stream
	set(with)
	g.put("4", "room:1", "joe")
	waitForList(t, g.nc, "room:1", 3)
	set(without)
	g.put("5", "room:1", "kim")
	waitForList(t, g.nc, "room:1", 4)
	set(with)
	if n := a.metric(t, "phxgate.presence.log.gaps"); n < 2 {
		t.Errorf("%d holes were filled, want 2", n)
	}
	_, all := g.check("room:1", presence.CheckTopic{})
	if _, ok := all["ann"]; ok || len(all) != 4 {
		t.Errorf("the state: %v", all)
	}
}

// TestBucketEmptied: a bucket of one replica whose server comes back without its store is as old as before, and begins to count anew. It is noticed, and what is written then counts.
func TestBucketEmptied(t *testing.T) {
	t.Parallel()
	c := phxtest.StartCluster(t, 3)
	c.WaitForJetStream()
	a := startReplica(t, c.URLs(), "a", merge, BucketConfig{Replicas: 1, Memory: true})
	waitFor(t, "a is ready", a.Ready)
	g := newScribe(t, c.URLs(), "g1")
	g.register()
	g.put("1", "room:1", "ann")
	g.put("2", "room:1", "bob")
	waitForList(t, g.nc, "room:1", 2)
	before, _ := g.check("room:1", presence.CheckTopic{})
	var info struct {
		Cluster struct{ Leader string }
		Created time.Time
	}
	look := func() time.Time {
		if err := json.Unmarshal([]byte(answerOf(t, g.nc, "$JS.API.STREAM.INFO.KV_phx_presence", "")), &info); err != nil {
			t.Fatal(err)
		}
		return info.Created
	}
	created := look()
	var server int
	if _, err := fmt.Sscanf(info.Cluster.Leader, "n%d", &server); err != nil {
		t.Fatalf("leader %q: %v", info.Cluster.Leader, err)
	}
	c.Restart(server)
	c.WaitForJetStream()
	waitFor(t, "the gateway is connected", g.nc.IsConnected)
	waitForList(t, g.nc, "room:1", 0)
	if again := look(); !again.Equal(created) {
		t.Fatalf("the stream is of %v, was of %v: this test proves nothing", again, created)
	}
	after, _ := g.check("room:1", presence.CheckTopic{})
	if after.Epoch == before.Epoch || after.Rev >= before.Rev {
		t.Errorf("before %+v, after %+v", before, after)
	}
	g.in = "g1=life2"
	g.register()
	g.put("1", "room:1", "ann")
	waitForList(t, g.nc, "room:1", 1)
}

// TestPresenceNATSRestarts: the connection and a bucket in files come back; a bucket in memory is made anew.
func TestPresenceNATSRestarts(t *testing.T) {
	for name, cfg := range map[string]BucketConfig{"file": {Replicas: 1}, "memory": {Replicas: 1, Memory: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := phxtest.StartCluster(t, 1)
			a := startReplica(t, c.URL(0), "a", merge, cfg)
			waitFor(t, "a is ready", a.Ready)
			g := newScribe(t, c.URL(0), "g1")
			g.register()
			g.put("1", "room:1", "ann")
			waitForList(t, g.nc, "room:1", 1)
			before, _ := g.check("room:1", presence.CheckTopic{})
			c.Restart(0)
			waitFor(t, "the gateway is back", g.nc.IsConnected)
			metas := 1
			if cfg.Memory {
				metas = 0
			}
			waitForList(t, g.nc, "room:1", metas)
			after, _ := g.check("room:1", presence.CheckTopic{})
			if (after.Epoch == before.Epoch) != (metas == 1) {
				t.Errorf("epoch %d before and %d after", before.Epoch, after.Epoch)
			}
			if metas == 1 {
				g.put("2", "room:1", "bob")
				waitForList(t, g.nc, "room:1", 2)
			}
		})
	}
}
