package nats

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
	"github.com/phxgate/phxgate/presence"
)

const merge = 50 * time.Millisecond

// TestPresenceDiffs: records become broadcasts of their topic, with stamps that lead from one to the next.
func TestPresenceDiffs(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	serve(t, url, "a", time.Second)
	g := newScribe(t, url, "g1")
	diffs := listen(t, g.nc, "phx.topic.room.1")
	g.register()
	first := g.put("1", "room:1", "ann")
	d := wantDiff(t, diffs, 1, 0)
	if string(d.Payload.Joins["ann"]) != `{"metas":[{"phx_ref":"g11"}]}` || d.Presence.First != first || d.Presence.Rev != first || d.Presence.After >= first || d.Presence.Epoch == 0 {
		t.Errorf("the first diff: %+v", d)
	}
	second := g.put("2", "room:1", "bob")
	g.put("3", "room:1", "ann")
	last := g.store("1", "room:1", nil)
	e := wantDiff(t, diffs, 2, 1) // gathered
	if want := (presence.Stamp{Epoch: d.Presence.Epoch, After: first, First: second, Rev: last}); e.Presence != want {
		t.Errorf("the second diff's stamp: %+v, want %+v", e.Presence, want)
	}
}

func TestPresenceLists(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	share(t, url, merge) // either may be asked
	g := newScribe(t, url, "g1")
	g.register()
	for i := range 5 {
		g.put(fmt.Sprint(i), "room:1", fmt.Sprint("k", i))
	}
	for range 20 {
		waitForList(t, g.nc, "room:1", 5)
	}
	if got := answerOf(t, g.nc, "phx.presence.list.room.1", `{"after":"k2","limit":1}`); got != `{"presences":{"k3":{"metas":[{"phx_ref":"g13"}]}},"next":"k3"}` {
		t.Errorf("a page: %s", got)
	}
	if got := answerOf(t, g.nc, "phx.presence.list.room.=3A", ""); !strings.Contains(got, `"error":"invalid topic"`) {
		t.Errorf("no topic: %s", got)
	}
	for i := range 300 {
		g.putMeta(fmt.Sprint("big", i), "room:big", fmt.Sprint("k", i), fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 4000)))
	}
	waitFor(t, "a list of 1.2 MB", func() bool {
		return answerOf(t, g.nc, "phx.presence.list.room.big", "") == `{"error":"too large, ask for pages"}`
	})
	seen, after := 0, ""
	for {
		var page struct {
			Presences map[string]json.RawMessage
			Next      *string
		}
		if err := json.Unmarshal([]byte(answerOf(t, g.nc, "phx.presence.list.room.big", fmt.Sprintf(`{"after":%q,"limit":100}`, after))), &page); err != nil {
			t.Fatal(err)
		}
		seen += len(page.Presences)
		if page.Next == nil {
			break
		}
		after = *page.Next
	}
	if seen != 300 {
		t.Errorf("%d keys on all pages", seen)
	}
}

// TestPresenceChecks: the same, the whole, and the whole in parts.
func TestPresenceChecks(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	share(t, url, merge) // one of the two answers, and only one
	g := newScribe(t, url, "g1")
	g.register()
	for i := range 300 {
		g.putMeta(fmt.Sprint(i), "room:1", fmt.Sprint("k", i), fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 4000)))
	}
	waitFor(t, "the log is through", func() bool {
		return answerOf(t, g.nc, "phx.presence.list.room.1", "") == `{"error":"too large, ask for pages"}`
	})
	st, all := g.check("room:1", presence.CheckTopic{})
	if len(all) != 300 || st.Parts < 5 || st.Rev < 301 {
		t.Errorf("%d keys in %d parts at %d", len(all), st.Parts, st.Rev)
	}
	if same, _ := g.check("room:1", presence.CheckTopic{Epoch: st.Epoch, Rev: st.Rev, Hash: st.Hash}); !same.Same || same.Hash != st.Hash {
		t.Errorf("a view that holds the same is told %+v", same)
	}
	g.store("7", "room:1", nil)
	waitFor(t, "what changed", func() bool {
		same, all := g.check("room:1", presence.CheckTopic{Epoch: st.Epoch, Rev: st.Rev, Hash: st.Hash})
		return !same.Same && len(all) == 299
	})
	if len(g.told) > 0 {
		t.Errorf("told once more than asked: %+v", <-g.told)
	}
}

// TestPresenceTakeOver: of two replicas one is killed; the other tells the changes of its topics within two seconds.
func TestPresenceTakeOver(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	a, _ := share(t, url, merge)
	g := newScribe(t, url, "g1")
	syncs := listen(t, g.nc, "phx.presence.sync")
	g.register()
	a.kill()
	killed := time.Now()
	var s presence.Sync
	if err := json.Unmarshal(next(t, syncs).Data, &s); err != nil || len(s.Partitions) == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if took := time.Since(killed); took > 2*time.Second {
		t.Errorf("taken over after %v", took)
	}
	for i := range 20 {
		topic := fmt.Sprint("room:", i)
		sub := listen(t, g.nc, "phx.topic.room."+fmt.Sprint(i))
		g.put(fmt.Sprint(i), topic, "ann")
		wantDiff(t, sub, 1, 0)
	}
}

// TestPresenceHandOver: a replica that stops says so, and nothing waits for its silence.
func TestPresenceHandOver(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	a, b := share(t, url, merge)
	g := newScribe(t, url, "g1")
	syncs := listen(t, g.nc, "phx.presence.sync")
	stopped := time.Now()
	a.stop()
	next(t, syncs)
	if took := time.Since(stopped); took > time.Second {
		t.Errorf("handed over after %v", took)
	}
	if n := b.metric(t, "phxgate.presence.partitions"); n != presence.Partitions {
		t.Errorf("%d partitions are owned", n)
	}
}

// TestPresenceTwoReplicas: while both live each diff is told once.
func TestPresenceTwoReplicas(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	share(t, url, 0)
	g := newScribe(t, url, "g1")
	g.register()
	diffs := listen(t, g.nc, "phx.topic.>")
	const topics = 64
	for i := range topics {
		g.put(fmt.Sprint(i), fmt.Sprint("room:", i), "ann")
	}
	seen := map[string]int{}
	for range topics {
		seen[next(t, diffs).Subject]++
	}
	if m, err := diffs.NextMsg(200 * time.Millisecond); err == nil || len(seen) != topics {
		t.Errorf("%d topics were told of, and then %v", len(seen), m)
	}
}

// TestPresenceRestart: a replica that starts on a bucket holds what the last one did.
func TestPresenceRestart(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	file := BucketConfig{Replicas: 1}
	a := startReplica(t, url, "a", merge, file)
	waitFor(t, "a is ready", a.Ready)
	g := newScribe(t, url, "g1")
	g.register()
	g.put("1", "room:1", "ann")
	g.put("2", "room:1", "bob")
	g.store("2", "room:1", nil)
	waitForList(t, g.nc, "room:1", 1)
	before, _ := g.check("room:1", presence.CheckTopic{})
	a.stop()
	g.put("3", "room:1", "eve") // while nobody looks
	b := startReplica(t, url, "b", merge, file)
	waitFor(t, "b is ready", b.Ready)
	after, all := g.check("room:1", presence.CheckTopic{Epoch: before.Epoch, Rev: before.Rev, Hash: before.Hash})
	if len(all) != 2 || after.Epoch != before.Epoch || after.Rev <= before.Rev {
		t.Errorf("before %+v, after %+v with %d keys", before, after, len(all))
	}
}

// TestPresenceBucketDeleted under the service: it is made anew, and gateways are told that nobody knows them.
func TestPresenceBucketDeleted(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	a, b := share(t, url, merge)
	g := newScribe(t, url, "g1")
	g.register()
	g.put("1", "room:1", "ann")
	waitForList(t, g.nc, "room:1", 1)
	before, _ := g.check("room:1", presence.CheckTopic{})
	deleteBucket(t, g.nc)
	waitFor(t, "the loss is noticed", func() bool { return !a.Ready() || !b.Ready() })
	waitFor(t, "both have the new one", func() bool {
		return a.Ready() && b.Ready() && a.metric(t, "phxgate.presence.gateways")+b.metric(t, "phxgate.presence.gateways") == 0
	})
	after, all := g.check("room:1", presence.CheckTopic{Epoch: before.Epoch, Rev: before.Rev, Hash: before.Hash})
	if after.Same || len(all) != 0 || after.Epoch == before.Epoch {
		t.Errorf("before %+v, after %+v with %d keys", before, after, len(all))
	}
	hello, _ := json.Marshal(presence.Hello{Gateway: g.id, Incarnation: g.in})
	greetings := time.NewTicker(100 * time.Millisecond)
	defer greetings.Stop()
	for reset := false; !reset; {
		publish(t, g.nc, "phx.presence.hello", string(hello))
		select {
		case m := <-g.told:
			reset = m.Reset == g.in
		case <-greetings.C:
		}
	}
	g.in = g.id + "=life2"
	g.register()
	g.put("1", "room:1", "ann")
	waitForList(t, g.nc, "room:1", 1)
}

func deleteBucket(t *testing.T, nc *natsgo.Conn) {
	t.Helper()
	if got := answerOf(t, nc, "$JS.API.STREAM.DELETE.KV_phx_presence", ""); !strings.Contains(got, `"success":true`) {
		t.Fatal(got)
	}
}

// TestPresenceGatewayDies as by SIGKILL: backends are told once, and its people go.
func TestPresenceGatewayDies(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	share(t, url, 0)
	g, other := newScribe(t, url, "g1"), newScribe(t, url, "g2")
	lost, left, diffs := listen(t, other.nc, "phx.gateway.lost"), listen(t, other.nc, "phx.left.>"), listen(t, other.nc, "phx.topic.room.1")
	other.register()
	other.put("1", "room:1", "bob")
	wantDiff(t, diffs, 1, 0)
	g.register()
	g.store("1", "room:1", presence.Entry{Key: "ann", Ref: "r1", Meta: json.RawMessage(`{}`), Channel: "g1.0.1", Socket: "user:1", Assigns: json.RawMessage(`{"a":1}`)})
	wantDiff(t, diffs, 1, 0)
	g.store("2", "room:1", presence.Entry{Key: "ann@desk", Ref: "r2", Meta: json.RawMessage(`{}`), Channel: "g1.0.1", Socket: "user:1", Assigns: json.RawMessage(`{"a":1}`)})
	wantDiff(t, diffs, 1, 0)
	g.nc.Close()
	died := time.Now()
	wantDiff(t, diffs, 0, 2)
	if took := time.Since(died); took < 2*time.Second || took > 5*time.Second {
		t.Errorf("its people went after %v", took)
	}
	if m := next(t, lost); string(m.Data) != `{"gateway":"g1"}` {
		t.Errorf("phx.gateway.lost %s", m.Data)
	}
	m := next(t, left)
	if string(m.Data) != `{"reason":"gateway_lost"}` || m.Subject != "phx.left.room.1" || m.Header.Get("Phx-Topic") != "room:1" || m.Header.Get("Phx-Channel") != "g1.0.1" ||
		m.Header.Get("Phx-Socket-Id") != "user:1" || m.Header.Get("Phx-Assigns") != `{"a":1}` {
		t.Errorf("phx.left: %s %v %s", m.Subject, m.Header, m.Data)
	}
	waitForList(t, other.nc, "room:1", 1)
	waitFor(t, "the bucket holds no more of it", func() bool {
		return !strings.Contains(answerOf(t, other.nc, "$JS.API.STREAM.INFO.KV_phx_presence", `{"subjects_filter":"$KV.phx_presence.g1=life1.>"}`), "life1.")
	})
	for _, sub := range []*natsgo.Subscription{lost, left} {
		if m, err := sub.NextMsg(100 * time.Millisecond); err == nil {
			t.Errorf("told twice: %s %s", m.Subject, m.Data)
		}
	}
}

// TestPresenceGatewayHangs: it is subscribed and does not answer. What it writes when it is given up is not believed, and it is told.
func TestPresenceGatewayHangs(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	serve(t, url, "a", merge)
	g := newScribe(t, url, "g1")
	lost := listen(t, g.nc, "phx.gateway.lost")
	for _, id := range []string{"g2", "g3"} {
		newScribe(t, url, id).register()
	}
	g.register()
	g.put("1", "room:1", "ann")
	waitForList(t, g.nc, "room:1", 1)
	g.mute.Store(true)
	hung := time.Now()
	if _, err := lost.NextMsg(2 * phxtest.Patience()); err != nil {
		t.Fatalf("nothing on phx.gateway.lost: %v", err)
	}
	if took := time.Since(hung); took < 3*time.Second {
		t.Errorf("given up after %v", took)
	}
	waitForList(t, g.nc, "room:1", 0)
	g.mute.Store(false)
	seq := g.put("2", "room:1", "ann")
	waitFor(t, "the log is through", func() bool { st, _ := g.check("room:1", presence.CheckTopic{}); return st.Rev >= seq })
	waitForList(t, g.nc, "room:1", 0)
}
