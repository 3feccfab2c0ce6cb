package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fleet is trackers of several gateways over one bucket in memory, with one owner of all topics that emits each change at once. It lives in a bubble of testing/synctest. What may go
// wrong is in its fields.
type fleet struct {
	t testing.TB

	mu       sync.Mutex // guards all that follows, and the gateways' fields
	state    *State
	seq      uint64
	ids      map[string]uint64 // point of the log of each change id, as the stream's window of duplicates has it
	last     map[string]uint64 // point of the log of each key's last record
	gateways map[string]*fakeGateway
	rand     *rand.Rand // where set, deliveries and acknowledgements take a random time

	absent     bool // there is no bucket
	muted      bool // diffs are lost
	deaf       bool // checks are not answered
	slowState  bool // so are they for two seconds
	forgets    bool // no window of duplicates: what is stored again is another record
	loseStores int  // that many changes do not reach the bucket
	loseAcks   int  // that many acknowledgements do not come back
	partBytes  int  // of the parts of a state
}

// fakeGateway is a gateway as its tracker sees it: the bus and the clients.
type fakeGateway struct {
	*Tracker
	fleet *fleet
	id    string
	end   func()

	deliveries chan func() // what the owner says, in order; never closed
	away       bool        // no connection to NATS
	stores     []string    // attempts: "<change id> <entry> <key>", "<change id> <entry> -" for a removal
	checks     []CheckTopic
	asked      int // messages that checks came in
	hellos     []Hello
	said       []string                // "push <channel> <event> <payload>", "broadcast <topic> <event> <payload>"
	joined     map[string]*fakeChannel // by channel id
}

var (
	_ TrackerBus = (*fakeGateway)(nil)
	_ Clients    = (*fakeGateway)(nil)
)

// startFleet starts gateways g0, g1, …
func startFleet(t testing.TB, gateways int, linger time.Duration) *fleet {
	f := &fleet{
		t: t, state: NewState(1), ids: map[string]uint64{}, last: map[string]uint64{}, gateways: map[string]*fakeGateway{}, partBytes: 256 << 10,
	}
	for i := range gateways {
		f.start(fmt.Sprintf("g%d", i), linger)
	}
	return f
}

func (f *fleet) start(id string, linger time.Duration) *fakeGateway {
	g := &fakeGateway{fleet: f, id: id, deliveries: make(chan func(), 1<<16), joined: map[string]*fakeChannel{}}
	g.Tracker = NewTracker(TrackerConfig{Gateway: id, Linger: linger, Log: slog.New(slog.DiscardHandler)}, g)
	f.mu.Lock()
	f.gateways[id] = g
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { g.Run(ctx, g) })
	running.Go(func() {
		for {
			select {
			case deliver := <-g.deliveries:
				time.Sleep(f.delay())
				deliver()
			case <-ctx.Done():
				return
			}
		}
	})
	g.end = sync.OnceFunc(func() { cancel(); running.Wait() })
	f.t.Cleanup(g.end)
	return g
}

// delay is how long a message takes.
func (f *fleet) delay() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rand == nil {
		return time.Millisecond
	}
	return time.Duration(f.rand.IntN(20_000)) * time.Microsecond
}

// pass lets time go by, and everybody do what they have to do by then.
func (f *fleet) pass(d time.Duration) {
	f.mu.Lock() // what the test has read is read before what happens now
	for _, g := range f.gateways {
		g.do(func() {})
	}
	f.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

// set changes what goes wrong.
func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (g *fakeGateway) Available() bool {
	g.fleet.mu.Lock()
	defer g.fleet.mu.Unlock()
	return !g.away
}

func (g *fakeGateway) Store(incarnation, entry, topic string, value []byte, id string, stored func(uint64, error)) {
	f := g.fleet
	took := f.delay()
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := func(after time.Duration, seq uint64, err error) { time.AfterFunc(after, func() { stored(seq, err) }) }
	key := "-"
	if value != nil {
		var v Entry
		mustUnmarshal(value, &v)
		key = v.Key
	}
	if entry != "" {
		g.stores = append(g.stores, id+" "+entry+" "+key)
	}
	switch {
	case g.away:
		answer(0, 0, errors.New("no connection"))
		return
	case f.absent:
		answer(took, 0, errors.New("no responder"))
		return
	case f.loseStores > 0:
		f.loseStores--
		answer(2*time.Second, 0, ErrTimeout)
		return
	}
	seq, again := f.ids[id]
	if !again || f.forgets {
		r := Record{Incarnation: incarnation, Entry: entry, Topic: topic, Value: value}
		if value == nil {
			r.Op = OpGone
		}
		seq = f.write(r)
		f.ids[id] = seq
	}
	if f.loseAcks > 0 {
		f.loseAcks--
		answer(2*time.Second, 0, ErrTimeout)
		return
	}
	answer(took, seq, nil)
}

// write appends a record to the log and does what the owner does with it.
func (f *fleet) write(r Record) uint64 {
	f.seq++
	r.Seq = f.seq
	f.last[r.Incarnation+"."+r.Entry] = r.Seq
	out, err := f.state.Apply(&r)
	if err != nil {
		f.t.Errorf("a gateway wrote what makes no sense: %v", err)
	}
	for _, topic := range out.Changed {
		if d, ok := topic.Flush(); ok {
			payload, stamp := d.AppendPayload(nil), mustJSON(d.Stamp)
			for _, g := range f.gateways {
				if !f.muted && !g.away {
					g.deliver(func() { g.Diff(d.Topic, payload, stamp) })
				}
			}
		}
	}
	if out.Took != nil {
		f.tell(out.Took.Incarnation, &ToGateway{Took: out.Took})
	}
	if gone := out.Taken; gone != nil && f.last[gone.Incarnation+"."+gone.Entry] == gone.Seq {
		f.write(Record{Incarnation: gone.Incarnation, Entry: gone.Entry, Topic: gone.Topic, Op: OpGone})
	}
	return r.Seq
}

func (g *fakeGateway) deliver(f func()) { g.deliveries <- f }

// tell sends a message to the gateway of an incarnation.
func (f *fleet) tell(incarnation string, m *ToGateway) {
	if g := f.gateways[gatewayOf(incarnation)]; g != nil && !g.away {
		g.deliver(func() { g.Message(mustJSON(m), nil) })
	}
}

func (g *fakeGateway) Check(partition int, message []byte) {
	f := g.fleet
	var c Check
	mustUnmarshal(message, &c)
	f.mu.Lock()
	defer f.mu.Unlock()
	g.asked++
	g.checks = append(g.checks, c.Topics...)
	for _, asked := range c.Topics {
		if Partition(asked.Topic) != partition {
			f.t.Errorf("%s was asked about at partition %d", asked.Topic, partition)
		}
	}
	if f.deaf || f.absent || g.away {
		return
	}
	after := time.Duration(0)
	if f.slowState {
		after = 2 * time.Second
	}
	var states []TopicState
	for _, asked := range c.Topics {
		states = append(states, f.compare(asked)...)
	}
	for len(states) > 0 {
		n := min(len(states), topicsAsked)
		if f.partBytes < 1000 {
			n = 1
		}
		some := states[:n]
		states = states[n:]
		g.deliver(func() {
			time.Sleep(after)
			g.Message(mustJSON(&ToGateway{States: some}), nil)
		})
	}
}

// compare is the owner's answer about one topic.
func (f *fleet) compare(asked CheckTopic) (states []TopicState) {
	st := TopicState{Topic: asked.Topic, Epoch: f.state.Epoch(), Rev: f.state.Applied()}
	var p Presences
	if t := f.state.Topic(asked.Topic); t != nil {
		st.Hash, p = t.Hash(), t.Presences()
	}
	if asked.Rev != 0 && asked.Hash == st.Hash {
		st.Same = true
		return []TopicState{st}
	}
	parts := p.Parts(f.partBytes)
	for i, part := range parts {
		st.Part, st.Parts, st.Presences = i, len(parts), part
		states = append(states, st)
	}
	return states
}

func (g *fakeGateway) Hello(message []byte) {
	var h Hello
	mustUnmarshal(message, &h)
	g.fleet.set(func() { g.hellos = append(g.hellos, h) })
}

// renewBucket makes the bucket anew, empty: the stream's points of the log begin again.
func (f *fleet) renewBucket() {
	f.set(func() {
		f.state = NewState(f.state.Epoch() + 1)
		f.seq, f.ids, f.last = 0, map[string]uint64{}, map[string]uint64{}
	})
}

// giveUp removes a gateway's registration, as a judge that takes it for dead does.
func (f *fleet) giveUp(g *fakeGateway) {
	f.set(func() {
		if in := f.incarnation(g); in != "" {
			f.write(Record{Incarnation: in, Op: OpLost})
		}
	})
}

// incarnation is what a gateway is registered as, "" if it is not.
func (f *fleet) incarnation(g *fakeGateway) string {
	for in := range f.state.Incarnations() {
		if gatewayOf(in) == g.id {
			return in
		}
	}
	return ""
}

// ask sends a request to a gateway and returns its answer.
func (g *fakeGateway) ask(m *ToGateway, answer any) bool {
	got := make(chan []byte, 1)
	g.Message(mustJSON(m), func(body []byte) { got <- body })
	g.fleet.pass(100 * time.Millisecond)
	select {
	case body := <-got:
		mustUnmarshal(body, answer)
		return true
	default:
		return false
	}
}

// order sends a backend's order and returns the reason of an error, or "ok", or "" if there was no answer.
func (g *fakeGateway) order(op, topic, channel string, key *string, meta string) string {
	u := &Update{Topic: topic, Channel: channel, Op: op, Key: key}
	if meta != "" {
		u.Meta = json.RawMessage(meta)
	}
	var r UpdateReply
	g.ask(&ToGateway{Update: u}, &r)
	if r.Reason != "" {
		return r.Reason
	}
	return r.Status
}

// seen is who the bucket says is on a topic: "<key> <meta>", sorted, refs left out.
func (f *fleet) seen(topic string) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.state.Topic(topic); t != nil {
		return describe(t.Presences())
	}
	return nil
}

func describe(p Presences) (out []string) {
	for key, metas := range p {
		for _, m := range metas {
			out = append(out, key+" "+bare(m.JSON))
		}
	}
	slices.Sort(out)
	return out
}

// bare is a meta without refs.
func bare(meta []byte) string {
	m := map[string]any{}
	mustUnmarshal(meta, &m)
	delete(m, "phx_ref")
	delete(m, "phx_ref_prev")
	return string(mustJSON(m))
}

func (f *fleet) wantSeen(topic string, want ...string) {
	f.t.Helper()
	slices.Sort(want)
	if got := f.seen(topic); !slices.Equal(got, want) {
		f.t.Fatalf("%s: the bucket says %q, want %q", topic, got, want)
	}
}
