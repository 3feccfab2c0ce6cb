package presence

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Times of the service's own work.
const (
	unknownAfter   = time.Second           // of greetings from an incarnation that is not registered
	strangersAfter = 60 * time.Second      // until what an unregistered incarnation wrote is removed
	forgetAfter    = 60 * time.Second      // until a topic without anybody is forgotten
	workEvery      = 10 * time.Millisecond // looks at what is due
	houseEvery     = 100 * time.Millisecond
	updateTimeout  = 2 * time.Second // for a gateway's answer to a backend's order
	appliedTimeout = time.Second     // for the log to bring what a gateway has stored
)

// queueCount bounds what may wait for the service's goroutine: whoever brings more waits.
const queueCount = 16 << 10

// Service is one replica of the presence service: it applies the log, emits the diffs of the partitions that it owns, answers what gateways and backends ask, and decides, where it owns
// partition 0, which gateways are dead. One goroutine, [Service.Run], owns all of it.
type Service struct {
	cfg ServiceConfig
	bus ServiceBus
	log *slog.Logger
	now func() time.Time

	queue   chan func() // never closed
	ended   chan struct{}
	endOnce sync.Once
	loaded  atomic.Bool
	stats   serviceStats

	// Owned by Run.
	state    *State // nil until loaded
	replicas *replicas
	owned    [Partitions]bool
	emitted  map[*Topic]time.Time // topics whose last diff is not PRESENCE_MERGE ago
	due      map[*Topic]struct{}  // topics with changes that wait for it
	waiting  []waitingUpdate      // backends' orders that are stored and not yet in the log
	judge    judging
	sweep    sweeping
	lastBeat time.Time
}

// ServiceConfig says how a replica works.
type ServiceConfig struct {
	ID    string        // unique among replicas
	Merge time.Duration // how long changes of a busy topic are gathered; 0: never
	Log   *slog.Logger
}

// waitingUpdate is a backend's order whose change the log has yet to bring.
type waitingUpdate struct {
	seq      uint64
	deadline time.Time
	answer   func()
}

// sweeping is what is cleared up now and then.
type sweeping struct {
	marks     []sweepMark          // points of the log and when they were reached
	strangers map[string]time.Time // since when they are seen
}

type sweepMark struct {
	at  time.Time
	seq uint64
}

// NewService makes a replica; Run it, and feed it as a LogInbox.
func NewService(cfg ServiceConfig, bus ServiceBus) *Service {
	s := &Service{
		cfg: cfg, bus: bus, log: cfg.Log, now: time.Now, queue: make(chan func(), queueCount), ended: make(chan struct{}),
		replicas: newReplicas(cfg.ID), emitted: map[*Topic]time.Time{}, due: map[*Topic]struct{}{},
	}
	s.judge.init()
	s.sweep.strangers = map[string]time.Time{}
	return s
}

// Ready reports whether the bucket is loaded.
func (s *Service) Ready() bool { return s.loaded.Load() }

// Run works until ctx ends: then what is due is emitted, and the other replicas are told.
func (s *Service) Run(ctx context.Context) {
	defer s.endOnce.Do(func() { close(s.ended) })
	work, house, ping := time.NewTicker(workEvery), time.NewTicker(houseEvery), time.NewTicker(pingEvery)
	defer work.Stop()
	defer house.Stop()
	defer ping.Stop()
	for {
		select {
		case f := <-s.queue:
			f()
		case <-work.C:
			s.emitDue()
			s.answerApplied()
		case <-house.C:
			s.keepHouse()
		case <-ping.C:
			s.sit()
		case <-ctx.Done():
			s.leave()
			return
		}
	}
}

// do has the service's goroutine do something; it waits while too much is waiting.
func (s *Service) do(f func()) {
	select {
	case s.queue <- f:
	case <-s.ended:
	}
}

// leave hands over to the others.
func (s *Service) leave() {
	for t := range s.due {
		s.emit(t)
	}
	s.replicas.ready = false
	s.bus.Beat(mustJSON(Beat{ID: s.cfg.ID, Leaving: true}))
	s.loaded.Store(false)
}

// Loaded implements [LogInbox].
func (s *Service) Loaded(epoch uint64, records []Record, applied uint64) {
	s.do(func() {
		state := NewState(epoch)
		if err := state.Load(records, applied); err != nil {
			s.log.Warn("the bucket holds what makes no sense; it is left out", "err", err)
		}
		s.state = state
		s.owned = [Partitions]bool{}
		clear(s.emitted)
		clear(s.due)
		s.sweep.marks = nil
		s.judge.forget()
		s.replicas.ready = true
		s.loaded.Store(true)
		s.log.Info("presence is loaded", "keys", len(records), "revision", applied)
		s.beat()
		s.own()
	})
}

// Unloaded implements [LogInbox].
func (s *Service) Unloaded() {
	s.do(func() {
		s.loaded.Store(false)
		s.replicas.ready = false
		s.beat()
		s.own()
		s.state = nil
	})
}

// Reconnected implements [LogInbox]: what was emitted meanwhile may not have gone out, and nobody was heard.
func (s *Service) Reconnected() {
	s.do(func() {
		s.judge.forget()
		s.sync(gained([Partitions]bool{}, s.owned))
	})
}

// Skipped implements [LogInbox].
func (s *Service) Skipped(seq uint64) {
	s.do(func() {
		if s.state != nil {
			s.state.Skip(seq)
		}
	})
}

// Record implements [LogInbox].
func (s *Service) Record(r *Record) {
	s.do(func() {
		if s.state == nil {
			return
		}
		out, err := s.state.Apply(r)
		if err != nil {
			s.stats.dropped.Add(1)
			s.log.Warn("a record makes no sense; it is left out", "err", err)
		}
		for _, t := range out.Changed {
			s.changed(t)
		}
		if t := out.Topic; t != nil && s.owns(t.Name()) {
			if out.Taken != nil {
				s.bus.Remove(out.Taken, updateTimeout, func(error) {}) // it may have changed meanwhile, and stays then
			}
			if out.Took != nil {
				s.bus.Tell(gatewayOf(out.Took.Incarnation), mustJSON(ToGateway{Took: out.Took}))
			}
		}
		if out.Lost != nil {
			for i := range out.Lost.Channels {
				if c := &out.Lost.Channels[i]; s.owns(c.Topic) {
					s.bus.Left(c)
				}
			}
		}
	})
}

func (s *Service) owns(topic string) bool { return s.owned[Partition(topic)] }

// changed emits a topic's first change at once, and gathers what follows.
func (s *Service) changed(t *Topic) {
	s.stats.changes.Add(1)
	if !s.owns(t.Name()) {
		t.Settle()
		return
	}
	if s.cfg.Merge > 0 && s.now().Sub(s.emitted[t]) < s.cfg.Merge {
		if _, ok := s.due[t]; ok {
			s.stats.merged.Add(1)
		}
		s.due[t] = struct{}{}
		return
	}
	s.emit(t)
}

// emitDue emits what was gathered for long enough.
func (s *Service) emitDue() {
	if len(s.due) == 0 && len(s.emitted) == 0 {
		return
	}
	now := s.now()
	for t, at := range s.emitted {
		if now.Sub(at) < s.cfg.Merge {
			continue
		}
		delete(s.emitted, t)
		if _, ok := s.due[t]; ok {
			s.emit(t)
		}
	}
}

// emit publishes a topic's diff.
func (s *Service) emit(t *Topic) {
	delete(s.due, t)
	d, ok := t.Flush()
	if !ok {
		return
	}
	if s.cfg.Merge > 0 {
		s.emitted[t] = s.now()
	}
	s.stats.diffs.Add(1)
	if !s.bus.Emit(d.Topic, d.AppendPayload(nil), d.Stamp) {
		s.sync([]int{Partition(d.Topic)}) // too large for one message: gateways ask, and get it in parts
	}
}

// sync makes gateways compare their views of partitions.
func (s *Service) sync(partitions []int) {
	if len(partitions) > 0 {
		s.bus.Sync(mustJSON(Sync{Partitions: partitions}))
	}
}

// Beat takes another replica's sign of life.
func (s *Service) Beat(body []byte) {
	var b Beat
	if json.Unmarshal(body, &b) != nil || b.ID == "" {
		return
	}
	s.do(func() {
		s.replicas.beat(b, s.now())
		s.own()
	})
}

func (s *Service) beat() {
	s.lastBeat = s.now()
	s.bus.Beat(mustJSON(Beat{ID: s.cfg.ID, Ready: s.replicas.ready}))
}

// own takes over partitions, or gives them up.
func (s *Service) own() {
	now := s.replicas.owned()
	if now == s.owned {
		return
	}
	for t := range s.due {
		if p := Partition(t.Name()); s.owned[p] && !now[p] {
			s.emit(t)
		}
	}
	fresh := gained(s.owned, now)
	s.owned = now
	n := 0
	for _, mine := range now {
		if mine {
			n++
		}
	}
	s.stats.partitions.Store(int64(n))
	s.log.Info("partitions", "owned", n, "of", Partitions, "taken over", len(fresh), "other replicas", len(s.replicas.seen))
	s.sync(fresh)
	if !now[0] {
		s.judge.forget()
	}
}

// keepHouse does what is to be done now and then.
func (s *Service) keepHouse() {
	now := s.now()
	s.replicas.expire(now)
	s.own()
	if now.Sub(s.lastBeat) >= replicaBeat {
		s.beat()
	}
	if s.state == nil {
		return
	}
	s.count()
	w := &s.sweep
	if n := len(w.marks); n == 0 || now.Sub(w.marks[n-1].at) >= time.Second {
		w.marks = append(w.marks, sweepMark{now, s.state.Applied()})
		for len(w.marks) > 0 && now.Sub(w.marks[0].at) >= forgetAfter {
			s.state.Forget(w.marks[0].seq)
			w.marks = w.marks[1:]
		}
		s.removeStrangers(now)
	}
}

// removeStrangers removes from the bucket what incarnations wrote that are not registered.
func (s *Service) removeStrangers(now time.Time) {
	strangers := map[string]time.Time{}
	for _, in := range s.state.Strangers() {
		since, ok := s.sweep.strangers[in]
		if !ok {
			since = now
		}
		if now.Sub(since) >= strangersAfter && s.owned[0] {
			s.bus.Purge(in)
			s.state.Drop(in)
			continue
		}
		strangers[in] = since
	}
	s.sweep.strangers = strangers
}

// gatewayOf is the gateway of an incarnation.
func gatewayOf(incarnation string) string {
	for i := range len(incarnation) {
		if incarnation[i] == '=' {
			return incarnation[:i]
		}
	}
	return incarnation
}

// mustJSON encodes the package's own messages, which cannot fail.
func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}
