package presence

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

type rawJSON = json.RawMessage

// errBadDiff: a diff's payload makes no sense.
var errBadDiff = errors.New("diff: its payload makes no sense")

// parseInto reads one of the package's own messages; false: it makes no sense.
func parseInto(data []byte, v any) bool { return json.Unmarshal(data, v) == nil }

// countPayload is the payload of presence_count.
func countPayload(n int) []byte {
	return append(strconv.AppendInt([]byte(`{"count":`), int64(n), 10), '}')
}

// Message takes what came on the gateway's private subject; reply is nil where nobody asked for an answer. It may wait while the tracker is behind.
func (t *Tracker) Message(body []byte, reply func([]byte)) {
	var m ToGateway
	if !parseInto(body, &m) {
		t.stats.bad.Add(1)
		return
	}
	if reply == nil {
		reply = func([]byte) {}
	}
	t.doBounded(func() {
		switch {
		case m.States != nil:
			t.states(m.States)
		case m.Ping != "":
			if m.Ping == t.life.incarnation {
				t.life.pinged = time.Now()
			}
			reply(mustJSON(Pong{Incarnation: t.life.incarnation}))
		case m.Reset != "":
			if m.Reset == t.life.incarnation {
				t.reset()
			}
		case m.Took != nil:
			t.took(m.Took)
		case m.Update != nil:
			t.ordered(m.Update, reply)
		}
	})
}

// Sync takes the order to compare the views of partitions that were taken over.
func (t *Tracker) Sync(body []byte) {
	var s Sync
	if !parseInto(body, &s) || s.Partitions == nil {
		t.stats.bad.Add(1)
		return
	}
	t.doBounded(func() { t.checkAll(s.Partitions) })
}

// Gap takes it that messages of any topic may have been missed.
func (t *Tracker) Gap() { t.do(func() { t.checkAll(nil) }) }

// GapOf takes it that messages of one topic were missed. It may wait while the tracker is behind.
func (t *Tracker) GapOf(topic string) {
	t.doBounded(func() {
		if w := t.topics[topic]; w != nil {
			t.check(w)
		}
	})
}

// ordered carries out a backend's order for a channel.
func (t *Tracker) ordered(u *Update, reply func([]byte)) {
	answer := func(seq uint64, err error) {
		if err != nil {
			reply(mustJSON(UpdateReply{Status: "error", Reason: err.Error()}))
		} else {
			reply(mustJSON(UpdateReply{Status: "ok", Seq: seq}))
		}
	}
	if m := t.channels[u.Channel]; m != nil {
		t.order(m, u, answer)
		return
	}
	t.clients.FindChannel(u.Channel, func(topic, socketID string, assigns []byte, ok bool) {
		t.do(func() {
			m := t.channels[u.Channel] // it may have come meanwhile
			if !ok || topic != u.Topic {
				answer(0, ErrUnknownChannel)
				return
			}
			if m == nil {
				m = &member{channel: u.Channel, topic: topic, socket: socketID, assigns: assigns}
				t.channels[u.Channel] = m
			}
			t.order(m, u, answer)
		})
	})
}

// order carries out a backend's order for a channel that is known.
func (t *Tracker) order(m *member, u *Update, answer func(seq uint64, err error)) {
	key, named := m.key, m.keyed
	if u.Key != nil {
		key, named = *u.Key, true
	}
	var e *tracked
	if named {
		e = m.entry(key)
	}
	meta, err := CleanMeta(u.Meta)
	switch op := u.Op; {
	case m.topic != u.Topic:
		answer(0, ErrUnknownChannel)
	case op == "untrack" && e == nil:
		answer(0, nil)
	case op == "untrack":
		t.remove(e, answer)
	case op == "track" && (!named || CheckKey(key) != nil):
		answer(0, ErrInvalidKey)
	case op == "track" && e != nil:
		answer(0, ErrAlreadyTracked)
	case op == "track" && len(m.entries) >= MaxKeys:
		answer(0, ErrTooManyKeys)
	case op == "track" && err == nil:
		t.track(m, key, meta, answer)
	case op != "" && op != "update" && op != "track":
		answer(0, ErrInvalidOp)
	case op != "track" && e == nil:
		answer(0, ErrNotTracked)
	case err != nil || u.Meta == nil:
		answer(0, ErrInvalidMeta)
	default:
		t.update(e, meta, answer)
	}
}
