package nats

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
	"github.com/phxgate/phxgate/presence"
)

// presenceRecorder notes what concerns presence among the rest.
type presenceRecorder struct{ *recorder }

func (r presenceRecorder) Diff(topic string, payload, stamp []byte) {
	r.note("diff " + topic + " " + string(payload) + " " + string(stamp))
}
func (r presenceRecorder) Message(body []byte, reply func([]byte)) {
	r.note("message " + string(body))
	if reply != nil {
		reply([]byte("answer to " + string(body)))
	}
}
func (r presenceRecorder) Sync(body []byte) { r.note("sync " + string(body)) }
func (r presenceRecorder) Gap()             { r.note("gap of presence") }

// makeBucket makes the presence bucket as presence-svc does.
func makeBucket(t *testing.T, url string) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(backend(t, url))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), phxtest.Patience())
	defer cancel()
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "phx_presence", History: 1, LimitMarkerTTL: 10 * time.Minute, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// ack is what became of a change.
type ack struct {
	seq uint64
	err error
}

// store stores a change and waits for what becomes of it.
func store(t *testing.T, b *Bus, entry, topic, value, id string) ack {
	t.Helper()
	acks := make(chan ack, 1)
	var data []byte
	if value != "" {
		data = []byte(value)
	}
	b.Presence().Store("g1=abc", entry, topic, data, id, func(seq uint64, err error) { acks <- ack{seq, err} })
	return within(t, "acknowledgement", acks)
}

// keys is what the bucket holds.
func keys(t *testing.T, kv jetstream.KeyValue) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), phxtest.Patience())
	defer cancel()
	list, err := kv.Keys(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestStore: changes of the bucket: acknowledged with their point of the log, once for each id, and refused where there is no bucket.
func TestStore(t *testing.T) {
	url := phxtest.StartNATS(t)
	b, _ := startBus(t, url)
	if a := store(t, b, "", "", "{}", "0"); !errors.Is(a.err, gateway.ErrNoBackend) {
		t.Fatalf("without a bucket: %+v", a)
	}
	kv := makeBucket(t, url)
	for i, c := range []struct {
		entry, topic, value, id string
		seq                     uint64
	}{
		{"", "", "{}", "1", 1}, {"1", "room:a b", `{"key":"ann"}`, "2", 2}, {"1", "room:a b", `{"key":"ann"}`, "2", 2},
		{"2", "room:2", `{"key":"bob"}`, "3", 3}, {"2", "room:2", "", "4", 4}, {"2", "room:2", "", "4", 4},
	} {
		if a := store(t, b, c.entry, c.topic, c.value, c.id); a.err != nil || a.seq != c.seq {
			t.Fatalf("change %d: %+v, want %d", i, a, c.seq)
		}
	}
	if got, want := keys(t, kv), []string{"g1=abc", "g1=abc.1.room.a=20b"}; !slices.Equal(got, want) {
		t.Fatalf("the bucket holds %q, want %q", got, want)
	}
	if a := store(t, b, "3", "room:1", strings.Repeat("x", 2<<20), "5"); !errors.Is(a.err, gateway.ErrTooLarge) {
		t.Fatalf("more than NATS takes: %+v", a)
	}
}

// TestRemovalExpires: what says that a key is gone does not stay for ever.
func TestRemovalExpires(t *testing.T) {
	url := phxtest.StartNATS(t)
	b, _ := startBus(t, url)
	makeBucket(t, url)
	store(t, b, "1", "room:1", "{}", "1")
	store(t, b, "1", "room:1", "", "2")
	js, err := jetstream.New(backend(t, url))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_phx_presence")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), "$KV.phx_presence.g1=abc.1.room.1")
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("KV-Operation") != "PURGE" || m.Header.Get("Nats-TTL") == "" || m.Header.Get("Nats-Rollup") != "sub" {
		t.Fatalf("the removal has the headers %v", m.Header)
	}
}

// TestReadAck: acknowledgements that are none are errors.
func TestReadAck(t *testing.T) {
	for _, body := range []string{"", "{}", "nonsense", `{"seq":0}`, `{"error":{"code":503,"description":"no"},"seq":4}`} {
		if seq, err := readAck([]byte(body)); err == nil || seq != 0 {
			t.Errorf("%s: %d, %v", body, seq, err)
		}
	}
	if seq, err := readAck([]byte(`{"stream":"KV_phx_presence","seq":7,"duplicate":true}`)); err != nil || seq != 7 {
		t.Errorf("an acknowledgement: %d, %v", seq, err)
	}
}

// TestPresenceInbox: what the bus brings of presence, and what stays a broadcast.
func TestPresenceInbox(t *testing.T) {
	url := phxtest.StartNATS(t)
	r := &recorder{}
	b := dialBus(t, url)
	b.SetPresence(presenceRecorder{r})
	runBus(t, b, r)
	subscribe(t, b, "room:1")
	nc := backend(t, url)
	diff := `{"event":"presence_diff","payload":{"joins":{},"leaves":{}}`
	publish(t, nc, "phx.topic.room.1", diff+`,"presence":{"epoch":1}}`)
	publish(t, nc, "phx.topic.room.1", diff+`}`)
	publish(t, nc, "phx.topic.room.1", `{"event":"new_msg","payload":{},"presence":{"epoch":1}}`)
	publish(t, nc, "phx.presence.gateway.g1", `{"ping":"g1=a"}`)
	publish(t, nc, "phx.presence.gateway.g2", `{"ping":"g2=a"}`)
	publish(t, nc, "phx.presence.sync", `{"partitions":[1]}`)
	answer, err := nc.Request("phx.presence.gateway.g1", []byte("ask"), phxtest.Patience())
	if err != nil || string(answer.Data) != "answer to ask" {
		t.Fatalf("a request was answered %v, %v", answer, err)
	}
	b.gapOfAll()
	waitFor(t, "both are told of the gap", func() bool { return r.count("gap")+r.count("gap of presence") == 2 })
	r.mu.Lock()
	defer r.mu.Unlock()
	want := []string{
		`diff room:1 {"joins":{},"leaves":{}} {"epoch":1}`, `topic room:1 presence_diff {"joins":{},"leaves":{}}`, "topic room:1 new_msg {}",
		`message {"ping":"g1=a"}`, `sync {"partitions":[1]}`, "message ask", "gap", "gap of presence",
	}
	if !slices.Equal(r.lines, want) {
		t.Fatalf("the inbox was told\n %q, want\n %q", r.lines, want)
	}
}

// TestDiffWithoutPresence: a bus that brings no presence takes the service's diff for a broadcast, and subscribes to nothing of presence.
func TestDiffWithoutPresence(t *testing.T) {
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	subscribe(t, b, "room:1")
	nc := backend(t, url)
	publish(t, nc, "phx.topic.room.1", `{"event":"presence_diff","payload":{},"presence":{"epoch":1}}`)
	waitFor(t, "the broadcast", func() bool { return r.count("topic room:1 presence_diff {}") == 1 })
	if _, err := nc.Request("phx.presence.gateway.g1", nil, phxtest.Patience()); !errors.Is(err, natsgo.ErrNoResponders) {
		t.Fatalf("a ping was answered %v", err)
	}
}

// silent are clients that nobody listens to.
type silent struct{}

func (silent) PushPresence(string, string, []byte)      {}
func (silent) BroadcastPresence(string, string, []byte) {}
func (silent) FindChannel(_ string, found func(string, string, []byte, bool)) {
	found("", "", nil, false)
}

// TestTracker: a tracker on a real server: it waits for the bucket, fills it, outlives a connection that breaks, and leaves nothing behind.
func TestTracker(t *testing.T) {
	url := phxtest.StartNATS(t)
	r := &recorder{}
	b := dialBus(t, url)
	tracker := presence.NewTracker(presence.TrackerConfig{Gateway: "g1", Log: slog.New(slog.DiscardHandler)}, b.Presence())
	b.SetPresence(tracker)
	if err := b.Start(r); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); tracker.Run(ctx, silent{}) }()
	defer func() { cancel(); closeBus(b); <-ended }()
	tracker.Join("g1.0.1", "room:1", "s:1", false, true, "ann", []byte("{}"), nil)
	kv := makeBucket(t, url)
	holds := func(what string, n int) {
		t.Helper()
		waitFor(t, what, func() bool { return len(keys(t, kv)) == n })
	}
	holds("the registration and one entry", 2)
	for _, key := range keys(t, kv) {
		if in, _, topic, ok := parseKey(key); !ok || !strings.HasPrefix(in, "g1=") || topic != "" && topic != "room:1" {
			t.Fatalf("the bucket holds %s", key)
		}
	}
	if err := b.nc().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	tracker.Join("g1.0.2", "room:2", "s:1", false, true, "ann", []byte("{}"), nil)
	holds("another entry, over a reconnect", 3)
	tracker.Leave("g1.0.1", false)
	holds("one entry less", 2)
	tracker.Drain(time.Second)
	tracker.Leave("g1.0.2", true)
	rest, done := context.WithTimeout(t.Context(), phxtest.Patience())
	defer done()
	tracker.Depart(rest)
	holds("nothing", 0)
}
