package presence

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// desk is a replica without NATS and without a goroutine: the test passes time and has its work done. The bus is the desk itself.
type desk struct {
	t   *testing.T
	s   *Service
	now time.Time
	seq uint64

	max    int                                            // bytes of a message
	answer func(gateway string, m ToGateway) (any, error) // of Ask; nil: nobody listens
	reach  func() error                                   // of Reach; nil: it is there
	remove func() error                                   // of Remove; nil: done, and the log brings it
	sent   []string                                       // what went out, in words
}

var _ ServiceBus = (*desk)(nil)

// newDesk makes a replica that has loaded an empty bucket and owns everything.
func newDesk(t *testing.T, merge time.Duration) *desk {
	d := &desk{t: t, now: time.Unix(1000, 0), max: 1 << 20}
	d.s = NewService(ServiceConfig{ID: "self", Merge: merge, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, d)
	d.s.now = func() time.Time { return d.now }
	d.s.Loaded(7, nil, 0)
	d.work()
	d.forget()
	return d
}

// work does what is queued, and what that queues.
func (d *desk) work() {
	for {
		select {
		case f := <-d.s.queue:
			f()
		default:
			return
		}
	}
}

// pass passes time in which everything runs as Run would have it.
func (d *desk) pass(span time.Duration) {
	for end := d.now.Add(span); d.now.Before(end); {
		d.now = d.now.Add(workEvery)
		d.s.emitDue()
		d.s.answerApplied()
		at := d.now.Sub(time.Unix(1000, 0))
		if at%houseEvery == 0 {
			d.s.keepHouse()
		}
		if at%pingEvery == 0 {
			d.s.sit()
		}
		d.work()
	}
}

// record has the log bring a record, and returns its place.
func (d *desk) record(r Record) uint64 {
	d.seq++
	r.Seq = d.seq
	d.s.Record(&r)
	d.work()
	return d.seq
}

func (d *desk) register(in string, reg Registration) uint64 {
	return d.record(Record{Incarnation: in, Value: mustJSON(reg)})
}

// put puts an entry; its id is also its ref and its channel.
func (d *desk) put(in, id, topic, key string) uint64 {
	return d.record(Record{Incarnation: in, Entry: id, Topic: topic, Value: mustJSON(Entry{Key: key, Ref: id, Meta: []byte(`{}`), Channel: id})})
}

func (d *desk) untrack(in, id, topic string) uint64 {
	return d.record(Record{Incarnation: in, Entry: id, Topic: topic, Op: OpGone})
}

func (d *desk) say(format string, args ...any) { d.sent = append(d.sent, fmt.Sprintf(format, args...)) }

func (d *desk) forget() { d.sent = nil }

// wantSent checks what went out since the last time, without signs of life and pings.
func (d *desk) wantSent(want ...string) {
	d.t.Helper()
	if !slices.Equal(d.sent, want) {
		d.t.Errorf("sent\n  %s\nwant\n  %s", strings.Join(d.sent, "\n  "), strings.Join(want, "\n  "))
	}
	d.forget()
}

func (d *desk) Emit(topic string, payload []byte, st Stamp) bool {
	if len(payload) > d.max {
		return false
	}
	var p struct {
		Joins, Leaves map[string]json.RawMessage
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		d.t.Fatal(err)
	}
	d.say("diff %s %d-%d-%d +%d -%d", topic, st.After, st.First, st.Rev, len(p.Joins), len(p.Leaves))
	return true
}

func (d *desk) Tell(gateway string, message []byte) {
	var m ToGateway
	if err := json.Unmarshal(message, &m); err != nil {
		d.t.Fatal(err)
	}
	switch {
	case m.States != nil:
		for _, st := range m.States {
			d.say("state %s %s rev %d same %t part %d/%d", gateway, st.Topic, st.Rev, st.Same, st.Part, st.Parts)
		}
	case m.Took != nil:
		d.say("took %s %s is %s", gateway, m.Took.Entry, m.Took.Ref)
	case m.Reset != "":
		d.say("reset %s", m.Reset)
	}
}

func (d *desk) Ask(gateway string, message []byte, _ time.Duration, answered func([]byte, error)) {
	var m ToGateway
	if err := json.Unmarshal(message, &m); err != nil {
		d.t.Fatal(err)
	}
	if d.answer == nil {
		answered(nil, ErrNoResponders)
		return
	}
	v, err := d.answer(gateway, m)
	answered(mustJSON(v), err)
}

func (d *desk) Sync(message []byte) {
	var s Sync
	if err := json.Unmarshal(message, &s); err != nil {
		d.t.Fatal(err)
	}
	d.say("sync %d", len(s.Partitions))
}

func (d *desk) Beat(message []byte) {
	if strings.Contains(string(message), `"leaving":true`) {
		d.say("leaving")
	}
}

func (d *desk) Reach(_ time.Duration, reached func(error)) {
	if d.reach == nil {
		reached(nil)
		return
	}
	reached(d.reach())
}

func (d *desk) Remove(r *Record, _ time.Duration, removed func(error)) {
	op := "gone"
	if r.Op == OpLost {
		op = "lost"
	}
	d.say("remove %s%s at %d %s", r.Incarnation, r.Entry, r.Seq, op)
	if d.remove != nil {
		removed(d.remove())
		return
	}
	removed(nil)
	d.seq++
	gone := *r
	gone.Seq = d.seq
	d.s.Record(&gone)
}

func (d *desk) Purge(incarnation string)   { d.say("purge %s", incarnation) }
func (d *desk) GatewayLost(gateway string) { d.say("lost %s", gateway) }
func (d *desk) Left(c *LostChannel)        { d.say("left %s %s", c.Topic, c.Channel) }
func (d *desk) MaxPayload() int            { return d.max }
