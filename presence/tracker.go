package presence

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"sync"
	"time"
)

// trackerTick is how often a tracker does what is to be done now and then.
const trackerTick = 50 * time.Millisecond

// trackerQueue bounds what the bus may have waiting; what loops hand over is bounded by their channels.
const trackerQueue = 16 << 10

// Tracker is a gateway's side of presence: it keeps in the bucket what the gateway's channels track, holds a view of each topic that they watch, and tells them. One goroutine,
// [Tracker.Run], owns all of it; the methods hand over to it and never wait for anything remote.
type Tracker struct {
	cfg     TrackerConfig
	bus     TrackerBus
	clients Clients
	log     *slog.Logger
	stats   trackerStats

	mu    sync.Mutex
	queue []func()
	room  sync.Cond     // on mu: the queue was taken, or the tracker ended
	wake  chan struct{} // something is in the queue; capacity 1, never closed
	over  bool          // nobody takes any more; guarded by mu

	// Owned by Run.
	life     life
	entries  trackedEntries
	channels map[string]*member // by channel id
	topics   map[string]*watched
	checks   checks
}

// TrackerConfig says how a tracker works.
type TrackerConfig struct {
	Gateway string        // gateway id
	Linger  time.Duration // how long an entry stays whose channel ended for no fault of its user; 0: not at all
	Log     *slog.Logger
}

// member is a channel that takes part in its topic's presence.
type member struct {
	channel, topic, socket string
	assigns                []byte
	entries                []*tracked // at most MaxKeys
	key                    string     // that it joined with
	keyed                  bool       // else it joined with none

	watched *watched // nil: it does not watch
	counted bool     // it wants to know how many are there, and not who
	owed    bool     // it has not been told yet
	after   uint64   // the point of the log that the view must have reached before: its own entry is in then
	stored  bool     // after is known, and of the log as it is now
	since   time.Time
}

// NewTracker makes a tracker; Run it. clients may be set later, before Run, where each needs the other.
func NewTracker(cfg TrackerConfig, bus TrackerBus) *Tracker {
	t := &Tracker{
		cfg: cfg, bus: bus, log: cfg.Log, wake: make(chan struct{}, 1), channels: map[string]*member{}, topics: map[string]*watched{},
	}
	t.room.L = &t.mu
	t.entries.init()
	t.checks.init()
	return t
}

// Run works until ctx ends; clients are who it tells.
func (t *Tracker) Run(ctx context.Context, clients Clients) {
	t.clients = clients
	tick := time.NewTicker(trackerTick)
	defer tick.Stop()
	t.begin()
	var batch []func()
	for {
		select {
		case <-t.wake:
		case <-tick.C:
			t.tick(time.Now())
		case <-ctx.Done():
			t.mu.Lock()
			t.over, t.queue = true, nil
			t.room.Broadcast()
			t.mu.Unlock()
			return
		}
		t.mu.Lock()
		batch, t.queue = t.queue, batch[:0]
		t.room.Broadcast()
		t.mu.Unlock()
		for i, f := range batch {
			f()
			batch[i] = nil
		}
		if cap(batch) > trackerQueue {
			batch = nil // after a burst
		}
		t.ask()
		t.work()
		t.finish()
	}
}

// do has the tracker's goroutine do something.
func (t *Tracker) do(f func()) {
	t.mu.Lock()
	t.append(f)
}

// doBounded is do for what comes from the bus: it waits while too much is waiting.
func (t *Tracker) doBounded(f func()) {
	t.mu.Lock()
	for len(t.queue) >= trackerQueue && !t.over {
		t.room.Wait()
	}
	t.append(f)
}

func (t *Tracker) append(f func()) {
	if !t.over {
		t.queue = append(t.queue, f)
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// tick does what is to be done now and then.
func (t *Tracker) tick(now time.Time) {
	t.live(now)
	t.retry(now)
	t.expire(now)
	t.lookAtChecks(now)
	t.tellCounts(now)
	t.stats.count(t)
}

// CheckKey and CleanMeta are the package's, for whoever knows a tracker only.
func (t *Tracker) CheckKey(key string) error             { return CheckKey(key) }
func (t *Tracker) CleanMeta(meta []byte) ([]byte, error) { return CleanMeta(meta) }

// Join begins a channel's part in its topic's presence: it sees the others, or with counted how many they are; with tracked it is seen, under a key and with a meta that were
// checked.
func (t *Tracker) Join(channel, topic, socketID string, counted, tracked bool, key string, meta, assigns []byte) {
	t.do(func() {
		m := &member{
			channel: channel, topic: topic, socket: socketID, assigns: assigns, counted: counted, key: key, keyed: tracked,
			owed: true, stored: !tracked, since: time.Now(),
		}
		t.channels[channel] = m
		t.watch(m)
		if tracked {
			t.track(m, key, meta, t.entered(m))
		}
		t.serve(m.watched)
	})
}

// entered is told when a joiner's own entry is in the bucket.
func (t *Tracker) entered(m *member) func(uint64, error) {
	return func(seq uint64, _ error) {
		m.after, m.stored, m.since = seq, true, time.Now()
		if w := m.watched; w != nil && w.fit(m) {
			t.serve(w)
		}
	}
}

// entry is a channel's under a key; nil: none.
func (m *member) entry(key string) *tracked {
	for _, e := range m.entries {
		if e.value.Key == key {
			return e
		}
	}
	return nil
}

// Update merges those members of changes that fields names into the meta under the key that a channel joined with. done is told whether that was accepted: nil, ErrNotTracked or
// ErrInvalidMeta.
func (t *Tracker) Update(channel string, fields []string, changes []byte, done func(error)) {
	changes = append([]byte(nil), changes...)
	t.do(func() {
		var e *tracked
		if m := t.channels[channel]; m != nil && m.keyed {
			e = m.entry(m.key)
		}
		if e == nil {
			done(ErrNotTracked)
			return
		}
		meta, err := MergeMeta(e.value.Meta, changes, fields)
		if err == nil {
			t.update(e, meta, nil)
		}
		done(err)
	})
}

// Leave ends a channel's part. lingers: it ended for no fault of its user, who may be back. A second Leave, without, says that he will not be.
func (t *Tracker) Leave(channel string, lingers bool) {
	t.do(func() {
		m := t.channels[channel]
		if m == nil {
			if !lingers {
				t.giveUp(channel)
			}
			return
		}
		delete(t.channels, channel)
		if m.watched != nil {
			t.unwatch(m)
		}
		for _, e := range m.entries {
			e.member = nil
			if lingers && t.cfg.Linger > 0 {
				t.linger(e)
			} else {
				t.remove(e, nil)
			}
		}
		m.entries = nil
	})
}

// newRef is a ref that was never used: 16 URL-safe characters, as Phoenix's (Phoenix 1.8 tracker.ex).
func newRef() string {
	var b [12]byte
	rand.Read(b[:])
	return base64.URLEncoding.EncodeToString(b[:])
}
