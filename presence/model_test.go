package presence

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// model is the obvious way to know who is seen: a flat list of what was ever written, looked through for every question.
type model struct {
	registered map[string]bool
	drains     map[string]bool
	drainedAt  map[string]uint64
	entries    []*modelEntry
}

type modelEntry struct {
	in, id, topic string
	value         Entry
	seq, since    uint64
	seen          bool
	ref, prev     string // as clients see it
}

func newModel() *model {
	return &model{registered: map[string]bool{}, drains: map[string]bool{}, drainedAt: map[string]uint64{}}
}

func (m *model) apply(r *Record) {
	if r.Entry == "" {
		if r.Op != OpPut {
			delete(m.registered, r.Incarnation)
			delete(m.drains, r.Incarnation)
			m.entries = slices.DeleteFunc(m.entries, func(e *modelEntry) bool { return e.in == r.Incarnation })
			return
		}
		var reg Registration
		mustUnmarshal(r.Value, &reg)
		if reg.Draining && !m.drains[r.Incarnation] {
			m.drainedAt[r.Incarnation] = r.Seq
		}
		m.drains[r.Incarnation] = reg.Draining
		if !m.registered[r.Incarnation] {
			m.registered[r.Incarnation] = true
			for _, e := range m.entries {
				if e.in == r.Incarnation {
					m.show(e)
				}
			}
		}
		return
	}
	i := slices.IndexFunc(m.entries, func(e *modelEntry) bool { return e.in == r.Incarnation && e.id == r.Entry })
	if r.Op != OpPut {
		if i >= 0 {
			m.entries = slices.Delete(m.entries, i, i+1)
		}
		return
	}
	var v Entry
	mustUnmarshal(r.Value, &v)
	if i < 0 {
		e := &modelEntry{in: r.Incarnation, id: r.Entry, topic: r.Topic, value: v, seq: r.Seq, since: r.Seq}
		m.entries = append(m.entries, e)
		if m.registered[r.Incarnation] {
			m.show(e)
		}
		return
	}
	e := m.entries[i]
	old := e.value
	e.value, e.seq = v, r.Seq
	if !m.registered[r.Incarnation] || v.Lingers || v.Ref == old.Ref || e.seen && v.Ref == e.ref {
		return
	}
	if !e.seen {
		m.show(e)
		return
	}
	if old.Lingers && string(old.Meta) == string(v.Meta) {
		return
	}
	e.prev, e.ref = e.ref, v.Ref
}

func (m *model) show(e *modelEntry) {
	e.seen, e.ref, e.prev = true, e.value.Ref, e.value.Prev
	var best *modelEntry
	for _, o := range m.entries {
		away := o.value.Lingers && o.seq < e.since || m.drains[o.in] && m.drainedAt[o.in] < e.since
		same := o.topic == e.topic && o.value.Key == e.value.Key && o.value.Socket == e.value.Socket && e.value.Socket != "" && !e.value.Settled
		if o.seen && same && away && o.in != e.in && (best == nil || o.since < best.since) {
			best = o
		}
	}
	if best == nil {
		return
	}
	best.seen = false
	if string(best.value.Meta) == string(e.value.Meta) {
		e.ref, e.prev = best.ref, best.prev
	} else {
		e.prev = best.ref
	}
}

// refs is who is seen on a topic: key/ref, sorted.
func (m *model) refs(topic string) (out []string) {
	for _, e := range m.entries {
		if e.topic == topic && e.seen && m.registered[e.in] {
			out = append(out, e.value.Key+"/"+e.ref)
		}
	}
	slices.Sort(out)
	return out
}

func mustUnmarshal(data []byte, v any) {
	if err := json.Unmarshal(data, v); err != nil {
		panic(err)
	}
}

func refsOf(p Presences) (out []string) {
	for key, metas := range p {
		for _, m := range metas {
			out = append(out, key+"/"+m.Ref)
		}
	}
	slices.Sort(out)
	return out
}

// world makes a random log as gateways write it, faulty ones among them.
type world struct {
	r       *rand.Rand
	seq     uint64
	refs    int
	topics  []string
	gates   []*worldGateway
	bucket  map[string]Record // what the bucket holds
	zombies []string          // incarnations that were given up and still write
}

type worldGateway struct {
	name    string
	lives   int
	in      string
	drains  bool
	entries map[string]*worldEntry
	n       int
}

type worldEntry struct {
	topic string
	value Entry
	since uint64
}

func newWorld(r *rand.Rand) *world {
	w := &world{r: r, topics: []string{"room:1", "room:2"}, bucket: map[string]Record{}}
	for i := range 3 {
		w.gates = append(w.gates, &worldGateway{name: "g" + strconv.Itoa(i)})
	}
	return w
}

func (w *world) ref() string { w.refs++; return "r" + strconv.Itoa(w.refs) }

func (w *world) record(in, entry, topic string, op Op, value any) Record {
	w.seq += 1 + uint64(w.r.IntN(3)/2) // others' messages lie between
	rec := Record{Seq: w.seq, Incarnation: in, Entry: entry, Topic: topic, Op: op}
	if op == OpPut {
		rec.Value, _ = json.Marshal(value)
		w.bucket[in+"."+entry] = rec
	} else {
		delete(w.bucket, in+"."+entry)
		if entry == "" {
			for k := range w.bucket {
				if len(k) > len(in) && k[:len(in)+1] == in+"." {
					delete(w.bucket, k) // by filter, as after a death: nothing in the log says so
				}
			}
		}
	}
	return rec
}

// next is the next record.
func (w *world) next() Record {
	g := w.gates[w.r.IntN(len(w.gates))]
	if g.in == "" || w.r.IntN(40) == 0 && !g.drains {
		if g.in != "" && w.r.IntN(2) == 0 { // it dies, or leaves properly
			in := g.in
			w.zombies = append(w.zombies, in)
			g.in, g.drains = "", false
			return w.record(in, "", "", []Op{OpGone, OpLost}[w.r.IntN(2)], nil)
		}
		if g.in == "" {
			g.lives++
			g.in, g.entries = fmt.Sprintf("%s=%d", g.name, g.lives), map[string]*worldEntry{}
			return w.record(g.in, "", "", OpPut, Registration{})
		}
		g.drains = true
		return w.record(g.in, "", "", OpPut, Registration{Draining: true})
	}
	if g.drains && w.r.IntN(20) == 0 {
		in := g.in
		g.in, g.drains = "", false
		return w.record(in, "", "", OpGone, nil)
	}
	if len(w.zombies) > 0 && w.r.IntN(30) == 0 {
		in := w.zombies[w.r.IntN(len(w.zombies))]
		n := w.r.IntN(3)
		return w.record(in, "z"+strconv.Itoa(n), w.topics[n%2], OpPut,
			Entry{Key: "ghost", Ref: w.ref(), Meta: []byte(`{}`), Channel: in + ".1.1"})
	}
	if len(g.entries) == 0 || w.r.IntN(3) == 0 {
		g.n++
		id := strconv.Itoa(g.n)
		e := &worldEntry{topic: w.topics[w.r.IntN(2)], value: Entry{
			Key: "k" + strconv.Itoa(w.r.IntN(4)), Ref: w.ref(), Meta: []byte(`{"m":` + strconv.Itoa(w.r.IntN(2)) + `}`), Channel: g.in + "." + id + ".1",
		}}
		if w.r.IntN(3) > 0 {
			e.value.Socket = "s:" + e.value.Key
		}
		g.entries[id] = e
		rec := w.record(g.in, id, e.topic, OpPut, e.value)
		e.since = rec.Seq
		return rec
	}
	ids := make([]string, 0, len(g.entries))
	for id := range g.entries {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := ids[w.r.IntN(len(ids))]
	e := g.entries[id]
	switch w.r.IntN(5) {
	case 0:
		delete(g.entries, id)
		return w.record(g.in, id, e.topic, OpGone, nil)
	}
	e.value.Since = e.since
	switch w.r.IntN(4) {
	case 1: // the same again, as after an ack that was lost
	case 2:
		e.value.Lingers = true
	case 3:
		e.value.Lingers, e.value.Ref = false, w.ref() // back, or an update that changes nothing
	default:
		e.value.Lingers, e.value.Prev, e.value.Ref, e.value.Meta = false, e.value.Ref, w.ref(), []byte(`{"u":`+strconv.Itoa(w.r.IntN(100))+`}`)
	}
	return w.record(g.in, id, e.topic, OpPut, e.value)
}

// took is what the gateway concerned does when it is told.
func (w *world) took(t *Took) (Record, bool) {
	for _, g := range w.gates {
		if e := g.entries[t.Entry]; g.in == t.Incarnation && e != nil && e.value.Ref == t.Wrote {
			e.value.Ref, e.value.Prev, e.value.Settled = t.Ref, t.Prev, true
			return w.record(g.in, t.Entry, e.topic, OpPut, e.value), true
		}
	}
	return Record{}, false
}

// remove is what the service does with an entry whose place was taken.
func (w *world) remove(gone *Record) *Record {
	rec := w.record(gone.Incarnation, gone.Entry, gone.Topic, OpGone, nil)
	for _, g := range w.gates {
		if e := g.entries[gone.Entry]; e != nil && g.in == gone.Incarnation {
			delete(g.entries, gone.Entry) // if its user comes back to it, that is an entry of its own
		}
	}
	return &rec
}

// seeds runs f for many seeds; a failure names its own.
func seeds(t *testing.T, n int, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	for seed := range uint64(n) {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { f(t, rand.New(rand.NewPCG(seed, 7))) }) {
			return
		}
	}
}
