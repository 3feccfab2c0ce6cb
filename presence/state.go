package presence

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/phxgate/phxgate/internal/planted"
)

// State is every presence at one point of the log. It is pure: [State.Apply] takes records in their order, whoever wrote them, and every replica that applied the same
// records holds the same.
type State struct {
	epoch   uint64
	applied uint64
	// dropped is a point of the log at or beyond the last change of every topic that the state does not hold.
	dropped      uint64
	incarnations map[string]*incarnation
	topics       map[string]*Topic
}

// NewState returns the state of an empty bucket; epoch tells the stream from others that had its name.
func NewState(epoch uint64) *State {
	return &State{epoch: epoch, incarnations: map[string]*incarnation{}, topics: map[string]*Topic{}}
}

// incarnation is one life of a gateway.
type incarnation struct {
	name       string
	registered bool   // else its entries do not count
	seq        uint64 // of its registration
	draining   uint64 // the point of the log since when it drains; 0: it does not
	linger     int64
	entries    map[string]*entry
}

// entry is one tracked channel and key.
//
//	absent ──put──▶ seen ──put, lingers──▶ lingering ──put──▶ seen
//	                  │                        └──another takes its place──▶ taken
//	                  └──(its incarnation drains) another takes its place──▶ taken ──put──▶ seen, as new
//
// gone from any. An entry whose incarnation is not registered is in none of these: it is kept and not seen.
type entry struct {
	id      string
	in      *incarnation
	topic   *Topic
	seq     uint64 // of its last record
	since   uint64 // of its first
	value   Entry
	meta    Meta // as clients see it, while it is seen
	lingers bool
	seen    bool
}

// Lost is what a gateway's death leaves to tell backends.
type Lost struct {
	Incarnation string
	Channels    []LostChannel
}

// LostChannel is a channel that was tracked when its gateway died.
type LostChannel struct {
	Topic, Channel, Socket string
	Assigns                json.RawMessage // nil: none
}

// Took tells the gateway of an entry that it took another's place, and the ref under which clients see it, which is the other's unless the meta differs: the gateway writes the entry
// anew with that ref, settled, so that the bucket alone says what clients see.
type Took struct {
	Incarnation string `json:"incarnation"`
	Entry       string `json:"entry"`
	Wrote       string `json:"wrote"` // the ref of the record
	Ref         string `json:"ref"`   // the phx_ref that clients see
	Prev        string `json:"prev,omitempty"`
}

// Outcome is what a record did.
type Outcome struct {
	Changed []*Topic // topics that changed for clients
	Took    *Took    // of the record's entry, on Topic
	Topic   *Topic
	// Taken: an entry on Topic whose place another took. Whoever owns the topic removes it from the bucket if its last record is still of that Seq: while it is there, and its taker is gone,
	// the bucket would say that it may be taken again.
	Taken *Record
	Lost  *Lost
}

// Epoch is the stream's.
func (s *State) Epoch() uint64 { return s.epoch }

// Applied is the point of the log that the state has reached.
func (s *State) Applied() uint64 { return s.applied }

// Topic returns a topic, nil if nobody was there for long.
func (s *State) Topic(name string) *Topic { return s.topics[name] }

// Topics is all topics, in no order.
func (s *State) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range s.topics {
			if !yield(t) {
				return
			}
		}
	}
}

// Incarnations is the registered incarnations and their registrations, in no order.
func (s *State) Incarnations() iter.Seq2[string, Registration] {
	return func(yield func(string, Registration) bool) {
		for name, in := range s.incarnations {
			if in.registered && !yield(name, Registration{Draining: in.draining != 0, Linger: in.linger}) {
				return
			}
		}
	}
}

// Registered reports whether an incarnation's entries count.
func (s *State) Registered(name string) bool {
	in := s.incarnations[name]
	return in != nil && in.registered
}

// RegisteredAt is the point of the log of an incarnation's registration as it is now.
func (s *State) RegisteredAt(name string) (seq uint64, ok bool) {
	in := s.incarnations[name]
	if in == nil || !in.registered {
		return 0, false
	}
	return in.seq, true
}

// Drop forgets a stranger, whose entries were removed from the bucket.
func (s *State) Drop(name string) {
	if in := s.incarnations[name]; in != nil && !in.registered {
		for _, e := range in.entries {
			e.topic.held--
		}
		delete(s.incarnations, name)
	}
}

// Strangers is the incarnations that have entries and no registration: what a gateway wrote that was given up, to be removed from the bucket.
func (s *State) Strangers() (names []string) {
	for name, in := range s.incarnations {
		if !in.registered {
			names = append(names, name)
		}
	}
	return names
}

// Load fills an empty state with what the bucket holds, which is not its whole history: no more is known of a topic than what it is now, at this point of the log. Values that make
// no sense are left out, and the error names them.
func (s *State) Load(records []Record, applied uint64) error {
	var errs []error
	slices.SortFunc(records, func(a, b Record) int {
		if (a.Entry == "") != (b.Entry == "") { // registrations first: without them no entry counts
			if a.Entry == "" {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.since(), b.since())
	})
	for i := range records {
		s.applied = 0
		if _, err := s.Apply(&records[i]); err != nil {
			errs = append(errs, err)
		}
	}
	s.applied = applied
	s.dropped = applied
	for _, t := range s.topics {
		t.rev = applied
		t.Settle()
	}
	return errors.Join(errs...)
}

// Skip moves the state beyond messages that do not concern it.
func (s *State) Skip(seq uint64) { s.applied = max(s.applied, seq) }

// Apply applies the next record. One that is not newer than the state changes nothing; neither does one whose value makes no sense, and the error says why.
func (s *State) Apply(r *Record) (Outcome, error) {
	if r.Seq <= s.applied {
		return Outcome{}, nil
	}
	s.applied = r.Seq
	c := &change{seq: r.Seq, topics: map[*Topic]struct{}{}}
	var err error
	switch {
	case r.Entry == "" && r.Op == OpPut:
		err = s.register(c, r)
	case r.Entry == "":
		c.out.Lost = s.unregister(c, r)
	case r.Op == OpPut:
		err = s.put(c, r)
	default:
		s.remove(c, r)
	}
	for t := range c.topics {
		c.out.Changed = append(c.out.Changed, t)
	}
	if err != nil {
		err = fmt.Errorf("record %d of %s: %w", r.Seq, r.Incarnation, err)
	}
	return c.out, err
}

func (s *State) register(c *change, r *Record) error {
	var reg Registration
	if err := json.Unmarshal(r.Value, &reg); err != nil {
		return err
	}
	in := s.incarnation(r.Incarnation)
	in.linger, in.seq = reg.Linger, r.Seq
	switch {
	case !reg.Draining:
		in.draining = 0
	case in.draining == 0:
		in.draining = r.Seq
	}
	if in.registered {
		return nil
	}
	in.registered = true
	entries := slices.SortedFunc(maps.Values(in.entries), func(a, b *entry) int { return cmp.Compare(a.since, b.since) })
	for _, e := range entries {
		c.show(e)
	}
	return nil
}

func (s *State) unregister(c *change, r *Record) *Lost {
	in := s.incarnations[r.Incarnation]
	if in == nil || planted.Tombstone {
		return nil
	}
	delete(s.incarnations, r.Incarnation)
	lost := &Lost{Incarnation: r.Incarnation}
	told := map[string]bool{} // a channel may be tracked under several keys
	for _, e := range in.entries {
		c.hide(e)
		e.topic.held--
		if v := &e.value; !e.lingers && !told[v.Channel] {
			told[v.Channel] = true
			lost.Channels = append(lost.Channels, LostChannel{e.topic.name, v.Channel, v.Socket, v.Assigns})
		}
	}
	if r.Op != OpLost || in.draining != 0 || !in.registered {
		return nil // the gateway itself has said what there was to say
	}
	return lost
}

func (s *State) incarnation(name string) *incarnation {
	in := s.incarnations[name]
	if in == nil {
		in = &incarnation{name: name, entries: map[string]*entry{}}
		s.incarnations[name] = in
	}
	return in
}

func (s *State) put(c *change, r *Record) error {
	var v Entry
	if err := v.parse(r.Value); err != nil {
		return err
	}
	in := s.incarnation(r.Incarnation)
	e := in.entries[r.Entry]
	if e != nil && (e.value.Key != v.Key || e.topic.name != r.Topic) {
		return errEntryMoved
	}
	if e == nil {
		e = &entry{id: r.Entry, in: in, topic: s.topic(r.Topic), seq: r.Seq, since: cmp.Or(v.Since, r.Seq), value: v, lingers: v.Lingers}
		in.entries[r.Entry] = e
		e.topic.held++
		if in.registered || planted.Stale {
			c.show(e)
		}
		return nil
	}
	old := e.value
	e.value, e.lingers, e.seq = v, v.Lingers, r.Seq
	switch {
	case !in.registered || v.Lingers || v.Ref == e.meta.Ref && e.seen || v.Ref == old.Ref:
		// Clients see no difference: a mark, the same message again, or the answer to a Took.
	case !e.seen:
		c.show(e)
	case old.Lingers && bytes.Equal(old.Meta, v.Meta): // its user came back to the same gateway
		c.took(e)
	default:
		c.update(e, e.meta)
	}
	return nil
}

func (s *State) remove(c *change, r *Record) {
	in := s.incarnations[r.Incarnation]
	if in == nil || in.entries[r.Entry] == nil {
		return
	}
	e := in.entries[r.Entry]
	c.hide(e)
	e.topic.held--
	delete(in.entries, r.Entry)
	if len(in.entries) == 0 && !in.registered {
		delete(s.incarnations, r.Incarnation)
	}
}

// topic returns a topic, made if there is none.
func (s *State) topic(name string) *Topic {
	t := s.topics[name]
	if t == nil {
		t = &Topic{name: name, epoch: s.epoch, after: s.dropped, rev: s.dropped, entries: map[string][]*entry{}}
		s.topics[name] = t
	}
	return t
}

// Forget drops topics where nobody is and nothing changed after a point of the log, which bounds what the state holds.
func (s *State) Forget(before uint64) {
	for name, t := range s.topics {
		if t.held == 0 && t.first == 0 && t.rev <= before {
			s.dropped = max(s.dropped, t.rev)
			delete(s.topics, name)
		}
	}
}
