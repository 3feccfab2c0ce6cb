package presence

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// errEntryMoved: an entry is of one topic and one key for all its life.
var errEntryMoved = errors.New("entry: its topic or key is another than before")

// Topic is one topic of a [State], with what changed on it since its last diff.
type Topic struct {
	name    string
	epoch   uint64
	entries map[string][]*entry // seen ones, by presence key, in the order in which they came
	hash    uint64              // of their refs
	held    int                 // entries that are of this topic, seen or not

	// The diff in the making; none while first is 0. Its sides hold no ref twice.
	after, first, rev uint64
	joins, leaves     Presences
}

// Name is the topic.
func (t *Topic) Name() string { return t.name }

// Hash is that of a view that holds the same.
func (t *Topic) Hash() uint64 { return t.hash }

// Pending reports whether something changed since the last diff.
func (t *Topic) Pending() bool { return t.first != 0 }

// Presences is who is there. At a diff's boundary only, that is when nothing is pending, it may be given to a gateway as the topic's state.
func (t *Topic) Presences() Presences {
	p := make(Presences, len(t.entries))
	for key, entries := range t.entries {
		for _, e := range entries {
			p.add(key, e.meta)
		}
	}
	return p
}

// Len is how many keys are there.
func (t *Topic) Len() int { return len(t.entries) }

// Flush ends the diff in the making and returns it; false: nothing changed. What came and went within it is in neither side.
func (t *Topic) Flush() (Diff, bool) {
	if t.first == 0 {
		return Diff{}, false
	}
	d := Diff{Topic: t.name, Stamp: Stamp{Epoch: t.epoch, After: t.after, First: t.first, Rev: t.rev}, Joins: t.joins, Leaves: t.leaves}
	t.Settle()
	return d, true
}

// Settle drops the diff in the making: another replica emits it.
func (t *Topic) Settle() { t.after, t.first, t.joins, t.leaves = t.rev, 0, nil, nil }

// change is one record at work.
type change struct {
	seq    uint64
	topics map[*Topic]struct{} // that clients see changed
	out    Outcome
}

// show makes an entry seen. If its user was there before, through an entry whose channel ended for no fault of his, it takes that one's place.
func (c *change) show(e *entry) {
	t := e.topic
	old := e.predecessor()
	if old == nil {
		e.meta, e.seen = newMeta(e.value.Ref, e.value.Prev, e.value.Meta), true
		t.entries[e.value.Key] = append(t.entries[e.value.Key], e)
		c.join(e)
		return
	}
	old.seen = false
	c.out.Topic = t
	c.out.Taken = &Record{Seq: old.seq, Incarnation: old.in.name, Entry: old.id, Topic: t.name, Op: OpGone}
	list := t.entries[e.value.Key]
	list[slices.Index(list, old)] = e
	e.meta, e.seen = old.meta, true
	if !bytes.Equal(old.value.Meta, e.value.Meta) {
		c.update(e, old.meta)
	}
	c.took(e)
}

// predecessor returns the oldest entry whose place e takes, nil if there is none: of the same topic, key and socket id, on another gateway, lingering or of a gateway that drains.
func (e *entry) predecessor() (oldest *entry) {
	if e.value.Socket == "" || e.value.Settled {
		return nil
	}
	for _, o := range e.topic.entries[e.value.Key] {
		away := o.lingers && o.seq < e.since || o.in.draining != 0 && o.in.draining < e.since // before e came
		if away && o.value.Socket == e.value.Socket && o.in != e.in && (oldest == nil || o.since < oldest.since) {
			oldest = o
		}
	}
	return oldest
}

// took notes under which ref clients see an entry that took a place.
func (c *change) took(e *entry) {
	prev := ""
	var head struct {
		Prev string `json:"phx_ref_prev"`
	}
	if json.Unmarshal(e.meta.JSON, &head) == nil {
		prev = head.Prev
	}
	c.out.Topic = e.topic
	c.out.Took = &Took{Incarnation: e.in.name, Entry: e.id, Wrote: e.value.Ref, Ref: e.meta.Ref, Prev: prev}
}

// update gives a seen entry a new meta in place of old.
func (c *change) update(e *entry, old Meta) {
	c.leave(e, old)
	e.meta = newMeta(e.value.Ref, old.Ref, e.value.Meta)
	c.join(e)
}

// hide makes an entry unseen.
func (c *change) hide(e *entry) {
	if !e.seen {
		return
	}
	e.seen = false
	t, key := e.topic, e.value.Key
	list := t.entries[key]
	if len(list) == 1 {
		delete(t.entries, key)
	} else {
		t.entries[key] = slices.DeleteFunc(list, func(o *entry) bool { return o == e })
	}
	c.leave(e, e.meta)
}

// join notes that clients see an entry's meta from now on.
func (c *change) join(e *entry) {
	t := e.topic
	c.mark(t)
	t.hash ^= hashRef(e.meta.Ref)
	t.joins.add(e.value.Key, e.meta)
}

// leave notes that clients see a meta of an entry no more.
func (c *change) leave(e *entry, m Meta) {
	t := e.topic
	c.mark(t)
	t.hash ^= hashRef(m.Ref)
	if _, ok := t.joins.remove(e.value.Key, m.Ref); !ok {
		t.leaves.add(e.value.Key, m)
	}
}

// mark notes that a topic changes with this record.
func (c *change) mark(t *Topic) {
	if t.first == 0 {
		t.first, t.joins, t.leaves = c.seq, Presences{}, Presences{}
	}
	t.rev = c.seq
	c.topics[t] = struct{}{}
}
