package presence

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestStateAgreesWithModel applies random logs to the state and to the obvious model.
func TestStateAgreesWithModel(t *testing.T) {
	seeds(t, 80, func(t *testing.T, r *rand.Rand) {
		w, s, m := newWorld(r), NewState(1), newModel()
		apply := func(rec Record) *Took {
			out, err := s.Apply(&rec)
			if err != nil {
				t.Fatal(err)
			}
			m.apply(&rec)
			for _, topic := range w.topics {
				want, got := m.refs(topic), refsOf(presencesOf(s, topic))
				if !slices.Equal(want, got) {
					t.Fatalf("at %d, %s: model %v, state %v", rec.Seq, topic, want, got)
				}
			}
			return out.Took
		}
		for range 400 {
			if took := apply(w.next()); took != nil && r.IntN(4) > 0 {
				if rec, ok := w.took(took); ok {
					apply(rec)
				}
			}
		}
	})
}

func presencesOf(s *State, topic string) Presences {
	if t := s.Topic(topic); t != nil {
		return t.Presences()
	}
	return nil
}

// TestDiffsLeadFromStateToState: diffs with any boundaries, folded over the state at any earlier boundary, give the later states; their hashes too.
func TestDiffsLeadFromStateToState(t *testing.T) {
	seeds(t, 100, func(t *testing.T, r *rand.Rand) {
		w, s := newWorld(r), NewState(1)
		views := map[string][]*View{}
		for _, topic := range w.topics {
			views[topic] = []*View{{epoch: 1, rev: 1}}
		}
		for range 500 {
			rec := w.next()
			if _, err := s.Apply(&rec); err != nil {
				t.Fatal(err)
			}
			if r.IntN(5) > 0 {
				continue
			}
			for _, topic := range w.topics {
				tp := s.Topic(topic)
				if tp == nil {
					continue
				}
				d, ok := tp.Flush()
				for _, v := range views[topic] {
					if ok {
						if fit := v.Fits(d.Stamp); fit != FitExact {
							t.Fatalf("view at %d, diff %+v: fit %d", v.rev, d.Stamp, fit)
						}
						v.Apply(&d)
						if v.Fits(d.Stamp) != FitOld {
							t.Fatal("a diff that was applied is not old")
						}
					}
					if want, got := refsOf(tp.Presences()), refsOf(v.presences); !slices.Equal(want, got) || v.hash != tp.Hash() {
						t.Fatalf("at %d, %s: state %v, view %v (diff %+v)", rec.Seq, topic, want, got, d)
					}
				}
				if len(views[topic]) < 20 { // one more that begins here
					v := &View{}
					v.Replace(topic, 1, s.Applied(), tp.Presences())
					views[topic] = append(views[topic], v)
				}
			}
		}
	})
}

// TestLoadedStateIsTheSame: the bucket alone says what clients see, once gateways have written what they were told of.
func TestLoadedStateIsTheSame(t *testing.T) {
	seeds(t, 80, func(t *testing.T, r *rand.Rand) {
		w, s := newWorld(r), NewState(1)
		apply := func(rec Record) *Took {
			out, err := s.Apply(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if gone := out.Taken; gone != nil && w.bucket[gone.Incarnation+"."+gone.Entry].Seq == gone.Seq {
				if _, err := s.Apply(w.remove(gone)); err != nil {
					t.Fatal(err)
				}
			}
			return out.Took
		}
		for range 100 + r.IntN(300) {
			for took := apply(w.next()); took != nil; {
				rec, ok := w.took(took)
				if !ok {
					break
				}
				took = apply(rec)
			}
		}
		loaded := NewState(1)
		if err := loaded.Load(w.holds(), w.seq); err != nil {
			t.Fatal(err)
		}
		for _, topic := range w.topics {
			if want, got := refsOf(presencesOf(s, topic)), refsOf(presencesOf(loaded, topic)); !slices.Equal(want, got) {
				t.Fatalf("%s: lived %v, loaded %v", topic, want, got)
			}
			if tp := loaded.Topic(topic); tp != nil && tp.Pending() {
				t.Fatal("something is pending after a load")
			}
		}
	})
}

func (w *world) holds() (out []Record) {
	for _, rec := range w.bucket {
		out = append(out, rec)
	}
	return out
}

func put(seq uint64, in, entry, topic string, e Entry) *Record {
	v, _ := json.Marshal(e)
	return &Record{Seq: seq, Incarnation: in, Entry: entry, Topic: topic, Value: v}
}

func register(seq uint64, in string) *Record {
	return &Record{Seq: seq, Incarnation: in, Value: []byte(`{}`)}
}

func mustApply(t *testing.T, s *State, r *Record) Outcome {
	t.Helper()
	out, err := s.Apply(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantFlush(t *testing.T, s *State, topic, want string) {
	t.Helper()
	d, ok := s.Topic(topic).Flush()
	got := "none"
	if ok {
		got = string(d.AppendPayload(nil))
	}
	if got != want {
		t.Fatalf("diff\n got %s\nwant %s", got, want)
	}
}

// TestDiffPayloads walks one entry's life.
func TestDiffPayloads(t *testing.T) {
	s := NewState(1)
	mustApply(t, s, register(1, "g=1"))
	e := Entry{Key: "ann", Ref: "a", Meta: []byte(`{"st":"on"}`), Channel: "g.1.1"}
	mustApply(t, s, put(2, "g=1", "1", "room:1", e))
	wantFlush(t, s, "room:1", `{"joins":{"ann":{"metas":[{"phx_ref":"a","st":"on"}]}},"leaves":{}}`)
	e.Prev, e.Ref, e.Meta = "a", "b", []byte(`{}`)
	mustApply(t, s, put(3, "g=1", "1", "room:1", e))
	wantFlush(t, s, "room:1", `{"joins":{"ann":{"metas":[{"phx_ref":"b","phx_ref_prev":"a"}]}},"leaves":{"ann":{"metas":[{"phx_ref":"a","st":"on"}]}}}`)
	mustApply(t, s, put(4, "g=1", "1", "room:1", e))
	wantFlush(t, s, "room:1", "none")
	mustApply(t, s, &Record{Seq: 5, Incarnation: "g=1", Entry: "1", Topic: "room:1", Op: OpGone})
	wantFlush(t, s, "room:1", `{"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"b","phx_ref_prev":"a"}]}}}`)
	mustApply(t, s, put(6, "g=1", "2", "room:1", e))
	mustApply(t, s, &Record{Seq: 7, Incarnation: "g=1", Entry: "2", Topic: "room:1", Op: OpGone})
	wantFlush(t, s, "room:1", `{"joins":{},"leaves":{}}`)
	s.Forget(6)
	if s.Topic("room:1") == nil {
		t.Fatal("a topic that changed later was dropped")
	}
	s.Forget(7)
	if s.Topic("room:1") != nil || s.dropped != 7 {
		t.Fatal("the topic was not dropped")
	}
}

// TestOnlyRegisteredIncarnationsCount: neither what came before the registration nor what comes after the death is seen.
func TestOnlyRegisteredIncarnationsCount(t *testing.T) {
	s := NewState(1)
	e := Entry{Key: "ann", Ref: "a", Meta: []byte(`{}`), Channel: "g.1.1", Socket: "s"}
	mustApply(t, s, put(1, "g=1", "1", "room:1", e))
	if len(presencesOf(s, "room:1")) != 0 || !slices.Equal(s.Strangers(), []string{"g=1"}) {
		t.Fatal("an unregistered incarnation's entry is seen")
	}
	mustApply(t, s, register(2, "g=1"))
	if len(presencesOf(s, "room:1")) != 1 {
		t.Fatal("the entry is not seen")
	}
	out := mustApply(t, s, &Record{Seq: 3, Incarnation: "g=1", Op: OpLost})
	if out.Lost == nil || len(out.Lost.Channels) != 1 || out.Lost.Channels[0].Channel != "g.1.1" {
		t.Fatalf("lost: %+v", out.Lost)
	}
	e.Ref = "b"
	mustApply(t, s, put(4, "g=1", "2", "room:1", e))
	if len(presencesOf(s, "room:1")) != 0 {
		t.Fatal("what a gateway that was given up writes is believed")
	}
}

// TestBadValuesChangeNothing: a value that makes no sense is named and left out.
func TestBadValuesChangeNothing(t *testing.T) {
	s := NewState(1)
	mustApply(t, s, register(1, "g=1"))
	for i, value := range []string{"", "{", `{}`, `{"key":"a","ref":"","meta":{}}`, `{"key":"a","ref":"r","meta":[]}`, `{"key":"__proto__","ref":"r","meta":{}}`} {
		rec := &Record{Seq: uint64(i + 2), Incarnation: "g=1", Entry: "1", Topic: "room:1", Value: []byte(value)}
		if _, err := s.Apply(rec); err == nil {
			t.Errorf("%q was taken", value)
		}
	}
	if len(presencesOf(s, "room:1")) != 0 || s.Applied() != 7 {
		t.Fatal("something changed")
	}
}
