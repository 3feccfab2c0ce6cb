package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/phxgate/phxgate/internal/phxtest"
	"github.com/phxgate/phxgate/presence"
)

// replica is a presence service on a real NATS server.
type replica struct {
	*presence.Service
	bus    *PresenceBus
	meters *metric.ManualReader
	cancel context.CancelFunc
	ended  chan struct{} // closed when Run has returned
}

// startReplica runs a service until the test ends; it need not be ready yet.
func startReplica(t testing.TB, url, id string, merge time.Duration, cfg BucketConfig) *replica {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("PHXTEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("replica", id)
	}
	bus, err := DialPresence(ConnConfig{URL: url, Name: id, Log: log}, mustSubjects(t, "phx"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{Service: presence.NewService(presence.ServiceConfig{ID: id, Merge: merge, Log: log}, bus), bus: bus, ended: make(chan struct{})}
	r.meters = metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(r.meters)).Meter("test")
	if err := errors.Join(r.RegisterMetrics(meter), bus.RegisterMetrics(meter)); err != nil {
		t.Fatal(err)
	}
	bus.Start(r.Service)
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { defer close(r.ended); r.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// serve runs a service that is ready.
func serve(t testing.TB, url, id string, merge time.Duration) *replica {
	t.Helper()
	r := startReplica(t, url, id, merge, BucketConfig{Replicas: 1, Memory: true})
	waitFor(t, id+" is ready", r.Ready)
	return r
}

// share runs two services that share the partitions.
func share(t testing.TB, url string, merge time.Duration) (a, b *replica) {
	t.Helper()
	a, b = serve(t, url, "a", merge), serve(t, url, "b", merge)
	waitFor(t, "each has its share", func() bool {
		return a.metric(t, "phxgate.presence.partitions")+b.metric(t, "phxgate.presence.partitions") == presence.Partitions
	})
	return a, b
}

// metric reads one of the service's figures, all labels together.
func (r *replica) metric(t testing.TB, name string) (sum int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.meters.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, p := range points {
				if m.Name == name {
					sum += p.Value
				}
			}
		}
	}
	return sum
}

// stop ends the service in good order; it may be called again.
func (r *replica) stop() {
	r.cancel()
	<-r.ended
	ctx, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	r.bus.Close(ctx)
}

// kill ends the service as a SIGKILL does: nobody is told.
func (r *replica) kill() {
	r.bus.Link.Close()
	r.stop()
}

// scribe is a gateway as the service sees it: it writes its records by hand, and answers pings, or does not.
type scribe struct {
	t           testing.TB
	nc          *natsgo.Conn
	subjects    PresenceSubjects
	id, in      string
	mute        atomic.Bool             // it hangs
	told        chan presence.ToGateway // all but pings; never closed
	nextMessage int
}

func newScribe(t testing.TB, url, id string) *scribe {
	t.Helper()
	g := &scribe{t: t, nc: backend(t, url), subjects: mustSubjects(t, "phx").Presence(), id: id, in: id + "=life1", told: make(chan presence.ToGateway, 1000)}
	if _, err := g.nc.Subscribe(g.subjects.Gateway(id), func(m *natsgo.Msg) {
		var to presence.ToGateway
		switch err := json.Unmarshal(m.Data, &to); {
		case err != nil:
			t.Errorf("to %s: %s: %v", id, m.Data, err)
		case to.Ping == "":
			g.told <- to
		case !g.mute.Load():
			answer, _ := json.Marshal(presence.Pong{Incarnation: g.in})
			_ = m.Respond(answer)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return g
}

// store makes one message of the bucket and returns its sequence.
func (g *scribe) store(entry, topic string, value any) uint64 {
	g.t.Helper()
	m := &natsgo.Msg{Subject: g.subjects.Key(g.in, entry, topic), Header: natsgo.Header{}}
	if value == nil {
		m.Header = removal()
	} else {
		m.Data, _ = json.Marshal(value)
	}
	g.nextMessage++
	m.Header["Nats-Msg-Id"] = []string{fmt.Sprintf("%s.%d", g.in, g.nextMessage)}
	answer, err := g.nc.RequestMsg(m, phxtest.Patience())
	if err != nil {
		g.t.Fatalf("store %s: %v", m.Subject, err)
	}
	seq, err := readAck(answer.Data)
	if err != nil {
		g.t.Fatalf("store %s: %v", m.Subject, err)
	}
	return seq
}

func (g *scribe) register() uint64 {
	g.t.Helper()
	return g.store("", "", presence.Registration{})
}

// put tracks a channel: its entry, ref and channel id are made of one word.
func (g *scribe) put(entry, topic, key string) uint64 {
	g.t.Helper()
	return g.putMeta(entry, topic, key, `{}`)
}

func (g *scribe) putMeta(entry, topic, key, meta string) uint64 {
	g.t.Helper()
	return g.store(entry, topic, presence.Entry{Key: key, Ref: g.id + entry, Meta: json.RawMessage(meta), Channel: g.id + ".0." + entry, Socket: "s" + entry})
}

// wantTold waits for something on the gateway's private subject.
func (g *scribe) wantTold(what string, is func(presence.ToGateway) bool) presence.ToGateway {
	g.t.Helper()
	for {
		if m := within(g.t, what, g.told); is(m) {
			return m
		}
	}
}

// check asks for a topic's state and returns its parts, in one.
func (g *scribe) check(topic string, asked presence.CheckTopic) (last presence.TopicState, all presence.Presences) {
	g.t.Helper()
	asked.Topic = topic
	body, _ := json.Marshal(presence.Check{Gateway: g.id, Topics: []presence.CheckTopic{asked}})
	publish(g.t, g.nc, g.subjects.Check(presence.Partition(topic)), string(body))
	all = presence.Presences{}
	for {
		m := g.wantTold("the state of "+topic, func(m presence.ToGateway) bool { return m.States != nil })
		for _, st := range m.States {
			if st.Topic != topic {
				g.t.Fatalf("asked for %s, told of %s", topic, st.Topic)
			}
			if last = st; st.Same {
				return last, nil
			}
			part, err := presence.ParsePresences(st.Presences)
			if err != nil {
				g.t.Fatal(err)
			}
			for key, metas := range part {
				all[key] = metas
			}
			if st.Part == st.Parts-1 {
				return last, all
			}
		}
	}
}

// diff is what comes on a topic.
type diff struct {
	Event   string
	Payload struct {
		Joins, Leaves map[string]json.RawMessage
	}
	Presence presence.Stamp
}

func nextDiff(t testing.TB, sub *natsgo.Subscription) (d diff) {
	t.Helper()
	m := next(t, sub)
	if err := json.Unmarshal(m.Data, &d); err != nil || d.Event != "presence_diff" {
		t.Fatalf("%s: %s (%v)", m.Subject, m.Data, err)
	}
	return d
}

// wantDiff waits for a diff with so many keys on either side.
func wantDiff(t testing.TB, sub *natsgo.Subscription, joins, leaves int) diff {
	t.Helper()
	d := nextDiff(t, sub)
	if len(d.Payload.Joins) != joins || len(d.Payload.Leaves) != leaves {
		t.Fatalf("%s: %+v, want %d joins and %d leaves", sub.Subject, d, joins, leaves)
	}
	return d
}

// answerOf requests.
func answerOf(t testing.TB, nc *natsgo.Conn, subject, body string) string {
	t.Helper()
	m, err := nc.Request(subject, []byte(body), phxtest.Patience())
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return string(m.Data)
}

// waitForList waits until a topic's list has so many metas.
func waitForList(t testing.TB, nc *natsgo.Conn, topic string, metas int) {
	t.Helper()
	subject := "phx.presence.list." + strings.ReplaceAll(topic, ":", ".")
	waitFor(t, fmt.Sprintf("%d metas on %s", metas, topic), func() bool {
		m, err := nc.Request(subject, nil, phxtest.Patience())
		return err == nil && strings.Count(string(m.Data), `"phx_ref"`) == metas && !strings.Contains(string(m.Data), `"error"`)
	})
}
