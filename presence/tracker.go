package presence

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Times of a tracker.
const (
	trackerTick  = 50 * time.Millisecond
	helloAfter   = 2 * time.Second // without a ping that names this incarnation
	helloEvery   = 500 * time.Millisecond
	drainTimeout = 500 * time.Millisecond // for the bucket to take note that the gateway drains, or has gone
)

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

// Leave ends a channel's part. lingers: it ended for no fault of its user, who may be back.
func (t *Tracker) Leave(channel string, lingers bool) {
	t.do(func() {
		m := t.channels[channel]
		if m == nil {
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

// life is what a gateway is registered as.
type life struct {
	incarnation string
	lives       uint64 // counts them, so that answers to an earlier one are known
	op          uint64 // counts changes, for their ids
	registered  bool
	putting     bool // the registration is being stored
	draining    bool
	failing     bool // said in the log
	retryAt     time.Time
	pinged      time.Time
	greeted     time.Time
	noted       []func() // called when the registration is stored as it is now
	finished    func()   // where set, called when nothing is left to be stored
}

// begin takes a new incarnation.
func (t *Tracker) begin() {
	l := &t.life
	*l = life{incarnation: t.cfg.Gateway + "=" + strings.ToLower(rand.Text()[:8]), lives: l.lives + 1, draining: l.draining, pinged: time.Now(), noted: l.noted, finished: l.finished}
	t.register()
}

// register stores the registration.
func (t *Tracker) register() {
	l := &t.life
	if l.putting || !t.bus.Available() {
		return
	}
	l.putting = true
	lives, draining := l.lives, l.draining
	value := mustJSON(Registration{Draining: draining, Linger: t.cfg.Linger.Milliseconds()})
	t.bus.Store(l.incarnation, "", "", value, t.changeID(), func(_ uint64, err error) {
		t.do(func() {
			if l.lives != lives {
				return
			}
			l.putting = false
			if err != nil {
				l.retryAt = time.Now().Add(retryAfter)
				if !l.failing {
					l.failing = true
					t.log.Info("not registered for presence yet: is presence-svc there?", "err", err)
				}
				return
			}
			if l.draining != draining {
				t.register()
				return
			}
			if !l.registered {
				l.registered, l.failing, l.pinged = true, false, time.Now()
				t.log.Info("registered for presence", "incarnation", l.incarnation)
			}
			for _, f := range l.noted {
				f()
			}
			l.noted = nil
		})
	})
}

// live keeps the registration alive.
func (t *Tracker) live(now time.Time) {
	l := &t.life
	if !l.registered || len(l.noted) > 0 {
		if now.After(l.retryAt) {
			t.register()
		}
		return
	}
	if now.Sub(l.pinged) >= helloAfter && now.Sub(l.greeted) >= helloEvery && t.bus.Available() {
		l.greeted = now
		t.bus.Hello(mustJSON(Hello{Gateway: t.cfg.Gateway, Incarnation: l.incarnation}))
	}
}

// changeID is the id of one more change.
func (t *Tracker) changeID() string {
	t.life.op++
	return t.life.incarnation + "." + strconv.FormatUint(t.life.op, 36)
}

// reset takes a new incarnation, since the one that the gateway had is not believed any more, and stores all that its channels track anew.
func (t *Tracker) reset() {
	t.log.Warn("presence begins anew: this gateway was given up, or the bucket is another", "incarnation", t.life.incarnation)
	t.stats.resets.Add(1)
	t.begin()
	t.renew()
}

// Drain makes the bucket know that the gateway goes away, before its first socket is closed: users who come back elsewhere take their places over. It waits for that, at most for
// limit and half a second.
func (t *Tracker) Drain(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	t.await(ctx, func(noted func()) {
		t.life.draining = true
		if t.cfg.Linger == 0 || !t.life.registered {
			noted() // nobody's place is kept, or the bucket knows nothing of the gateway
			return
		}
		t.life.noted = append(t.life.noted, noted)
		t.register()
	})
}

// Depart is the end: it waits until the bucket has what the last channels left to do, at most until ctx ends and half a second. Where nothing lingers the registration goes too, else
// the presence service removes it in time.
func (t *Tracker) Depart(ctx context.Context) {
	t.await(ctx, func(gone func()) {
		t.life.finished = func() {
			if t.cfg.Linger > 0 || !t.life.registered {
				gone()
				return
			}
			t.bus.Store(t.life.incarnation, "", "", nil, t.changeID(), func(uint64, error) { gone() })
		}
	})
}

// finish says, to who waits for it, that nothing is left to be stored. Without a registration nothing can be.
func (t *Tracker) finish() {
	if f := t.life.finished; f != nil && (!t.life.registered || t.entries.settled()) {
		t.life.finished = nil
		f()
	}
}

// await has something done and waits until it is, at most until ctx ends and drainTimeout.
func (t *Tracker) await(ctx context.Context, f func(done func())) {
	done := make(chan struct{})
	t.do(func() { f(sync.OnceFunc(func() { close(done) })) })
	late := time.NewTimer(drainTimeout)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	case <-ctx.Done():
	}
}

// newRef is a ref that was never used: 16 URL-safe characters, as Phoenix's (Phoenix 1.8 tracker.ex).
func newRef() string {
	var b [12]byte
	rand.Read(b[:])
	return base64.URLEncoding.EncodeToString(b[:])
}
