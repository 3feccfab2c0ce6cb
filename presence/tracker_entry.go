package presence

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

// How entries are stored.
const (
	storeWindow = 512 // changes under way
	retryAfter  = 250 * time.Millisecond
	retryMost   = time.Second
)

// tracked is one entry of this gateway: what it should be, and what the bucket was told. At most one change of it is under way, and that is repeated, under the same id, until it is
// acknowledged: a later change never overtakes it.
type tracked struct {
	id     string
	topic  string
	member *member // nil: its channel is gone
	value  Entry   // as it should be
	gone   bool    // it should not be
	until  time.Time

	version  uint64   // counts changes of value and gone
	storing  *storing // the change under way, or to be repeated
	dirty    bool     // in trackedEntries.dirty
	seenRef  string   // the ref that clients may have seen last; "": nothing of it was handed to the bus
	lingered bool     // what was handed to the bus last says that it lingers
	onStored []onStored
}

// storing is a change that is under way.
type storing struct {
	version uint64
	id      string
	value   []byte // nil removes the entry
	tries   int
	retryAt time.Time // while it waits to be repeated
}

// onStored is told when a version is in the bucket, or never will be.
type onStored struct {
	version uint64
	f       func(seq uint64, err error)
}

// trackedEntries is all of a tracker's.
type trackedEntries struct {
	n        uint64 // the last id given out
	all      map[string]*tracked
	dirty    []*tracked // to be handed to the bus: changes to be repeated first, then in the order in which they came to differ
	retries  []*tracked // whose change was not acknowledged and is to be repeated after a pause
	underWay int
	away     map[string][]*tracked // lingering, by the channel that ended
	places   map[place][]*tracked  // the lingering ones that a user may come back to, the oldest first
}

func (e *trackedEntries) init() {
	e.all, e.away, e.places = map[string]*tracked{}, map[string][]*tracked{}, map[place][]*tracked{}
}

// settled reports whether the bucket has everything as it is to be.
func (e *trackedEntries) settled() bool { return len(e.dirty)+len(e.retries)+e.underWay == 0 }

// track begins an entry of a channel, or takes up a lingering one of its user. stored is told when it is in the bucket.
func (t *Tracker) track(m *member, key string, meta []byte, stored func(uint64, error)) {
	var e *tracked
	if places := t.entries.places[place{m.topic, key, m.socket}]; len(places) > 0 {
		e = places[0]
		unheard := !e.lingered && !t.life.draining && bytes.Equal(e.value.Meta, meta) // nobody knows that it went, or need know that it is back
		t.back(e)
		if !unheard {
			e.value.Prev, e.value.Ref = e.seenRef, newRef() // its place may have been taken meanwhile; else clients see the old ref, unless the meta differs
		}
	} else {
		t.entries.n++
		e = &tracked{id: strconv.FormatUint(t.entries.n, 36), topic: m.topic, value: Entry{Key: key, Socket: m.socket, Ref: newRef()}}
		t.entries.all[e.id] = e
	}
	e.member = m
	e.value.Channel, e.value.Assigns, e.value.Meta = m.channel, m.assigns, meta
	m.entries = append(m.entries, e)
	t.changed(e, stored)
}

// update gives an entry another meta.
func (t *Tracker) update(e *tracked, meta []byte, stored func(uint64, error)) {
	e.value.Prev, e.value.Ref, e.value.Meta = e.seenRef, newRef(), meta
	t.changed(e, stored)
}

// remove ends an entry.
func (t *Tracker) remove(e *tracked, stored func(uint64, error)) {
	t.back(e)
	e.gone = true
	if m := e.member; m != nil {
		m.entries = slices.DeleteFunc(m.entries, func(o *tracked) bool { return o == e })
		e.member = nil
	}
	t.changed(e, stored)
}

// changed has an entry stored as it is to be now.
func (t *Tracker) changed(e *tracked, stored func(uint64, error)) {
	e.version++
	if stored != nil {
		e.onStored = append(e.onStored, onStored{e.version, stored})
	}
	t.mark(e)
}

// mark puts an entry among those that differ, unless it is there, or will be when its change is acknowledged.
func (t *Tracker) mark(e *tracked) {
	if !e.dirty && e.storing == nil {
		e.dirty = true
		t.entries.dirty = append(t.entries.dirty, e)
	}
}

// work hands to the bus what differs, as far as the window allows.
func (t *Tracker) work() {
	en := &t.entries
	if !t.life.registered || !t.bus.Available() {
		return
	}
	n := 0
	for ; n < len(en.dirty) && en.underWay < storeWindow; n++ {
		e := en.dirty[n]
		en.dirty[n] = nil
		e.dirty = false
		if e.storing != nil {
			t.send(e)
		} else {
			t.store(e)
		}
	}
	en.dirty = en.dirty[n:]
}

// store begins to store an entry as it is to be.
func (t *Tracker) store(e *tracked) {
	if e.gone && e.seenRef == "" { // nobody has heard of it
		t.settled(e, e.version, 0, nil)
		return
	}
	e.storing = &storing{version: e.version, id: t.changeID()}
	if !e.gone {
		e.storing.value = mustJSON(&e.value)
		e.seenRef, e.lingered = e.value.Ref, e.value.Lingers
	}
	t.send(e)
}

// send hands an entry's change to the bus, perhaps once more.
func (t *Tracker) send(e *tracked) {
	c, lives := e.storing, t.life.lives
	c.tries++
	t.entries.underWay++
	t.stats.stores.Add(1)
	t.bus.Store(t.life.incarnation, e.id, e.topic, c.value, c.id, func(seq uint64, err error) {
		t.do(func() {
			if t.life.lives == lives { // else its entries are gone as a whole
				t.stored(e, c, seq, err)
			}
		})
	})
}

// stored takes what became of a change.
func (t *Tracker) stored(e *tracked, c *storing, seq uint64, err error) {
	t.entries.underWay--
	if err != nil {
		t.stats.retries.Add(1)
		c.retryAt = time.Now().Add(min(retryAfter*time.Duration(c.tries), retryMost))
		t.entries.retries = append(t.entries.retries, e)
		return
	}
	e.storing = nil
	if e.value.Since == 0 {
		e.value.Since = seq
	}
	t.settled(e, c.version, seq, nil)
	if e.version != c.version {
		t.mark(e)
	}
}

// settled tells who waited for a version; an entry that is gone is forgotten.
func (t *Tracker) settled(e *tracked, version, seq uint64, err error) {
	waiting := e.onStored
	e.onStored = nil
	for _, w := range waiting {
		if w.version <= version {
			w.f(seq, err)
		} else {
			e.onStored = append(e.onStored, w)
		}
	}
	if e.gone && e.version == version {
		delete(t.entries.all, e.id)
	}
}

// retry has changes repeated that were not acknowledged, before all that is new.
func (t *Tracker) retry(now time.Time) {
	en := &t.entries
	var due, later []*tracked
	for _, e := range en.retries {
		if now.Before(e.storing.retryAt) {
			later = append(later, e)
		} else {
			e.dirty = true
			due = append(due, e)
		}
	}
	if due != nil {
		en.retries, en.dirty = later, append(due, en.dirty...)
	}
}

// renew stores everything anew, under a new incarnation.
func (t *Tracker) renew() {
	en := &t.entries
	en.underWay, en.retries, en.dirty = 0, nil, nil
	for _, e := range en.all {
		e.storing, e.dirty, e.seenRef, e.lingered = nil, false, "", false
		if e.gone {
			t.settled(e, e.version, 0, nil)
			continue
		}
		e.value.Since, e.value.Settled, e.value.Prev, e.value.Ref = 0, false, "", newRef()
		t.mark(e)
	}
	for _, m := range t.channels { // what was known of an entry's place in the log may be of another log
		if !m.owed || !m.stored {
			continue
		}
		m.after = 0
		if e := m.entry(m.key); m.keyed && e != nil {
			m.stored = false
			e.onStored = append(e.onStored, onStored{e.version, t.entered(m)})
		}
	}
}

// took writes down under which ref clients see an entry that took another's place.
func (t *Tracker) took(k *Took) {
	e := t.entries.all[k.Entry]
	if e == nil || e.gone || k.Incarnation != t.life.incarnation || e.value.Ref != k.Wrote {
		return
	}
	e.value.Ref, e.value.Prev, e.value.Settled, e.seenRef = k.Ref, k.Prev, true, k.Ref
	t.changed(e, nil)
}
