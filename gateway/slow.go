package gateway

import (
	"cmp"
	"slices"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// A socket is slow while the kernel takes no more for it. What is sent to it waits in its outbox, up to OUTBOUND_BYTES. Beyond them it is aborted, unless a rule lets broadcasts of its
// topic be dropped: then those that wait for the longest make room. Presence events and what backends push or answer are never dropped, and keep their order with what is left.

// makeRoom drops what may be dropped of what waits for a socket until n more bytes have room. It reports whether they do.
func (l *loop) makeRoom(s *socket, n int) bool {
	o := s.out
	for o.bytes > 0 && o.bytes+n > l.srv.cfg.OutboundBytes {
		t := o.dropOldest()
		if t == nil {
			return false
		}
		l.dropped(s, t)
	}
	return true
}

// dropped makes a channel be told, as its rule says, that it missed something.
func (l *loop) dropped(s *socket, t *topic) {
	l.stats.dropped.add(droppedSlow, 1)
	for _, ch := range s.channels {
		if ch.topic == t {
			l.gapAt(ch, l.ruleOf(ch))
		}
	}
}

// slowness says what becomes of a topic's broadcasts, during one fan-out, where a socket is slow.
type slowness struct {
	topic *topic
	rule  rules.Slow
	made  map[single]*sharedFrame
}

// single is a broadcast's frame, and whether a later one may take its place.
type single struct {
	e         *encoded
	form      form
	conflates bool
}

// slowOf returns what a topic's rule says about slow sockets.
func (l *loop) slowOf(t *topic) slowness {
	sl := slowness{topic: t}
	if rule := l.srv.rules.Load().Match(t.name); rule != nil {
		sl.rule = rule.Slow
	}
	return sl
}

// shared returns what the loop is to know of broadcasts in one frame; nil for nothing.
func (sl *slowness) shared(batch []*encoded, frame []byte) *sharedFrame {
	droppable := sl.rule.Policy != rules.SlowClose
	for _, e := range batch {
		droppable = droppable && !e.kept
	}
	switch {
	case droppable:
		return &sharedFrame{size: len(frame), droppable: sl.topic}
	case len(sl.topic.members) > 1:
		return &sharedFrame{size: len(frame)}
	}
	return nil
}

// conflates reports whether each broadcast is to wait by itself for a socket, since a later one may take its place.
func (sl *slowness) conflates(s *socket) bool {
	return sl.rule.Policy == rules.SlowConflate && s.watchesWrite
}

// sendOne sends a member a broadcast in a frame of its own. It reports false where the broadcast has none.
func (l *loop) sendOne(sl *slowness, ch *channel, e *encoded) bool {
	s := ch.socket
	f := e.frame(s.form())
	if f == nil {
		return false
	}
	key := single{e, s.form(), sl.conflates(s) && !e.kept}
	of, ok := sl.made[key]
	if !ok {
		if of = sl.shared([]*encoded{e}, f); key.conflates {
			of.key = sl.key(e.b)
		}
		if sl.made == nil {
			sl.made = map[single]*sharedFrame{}
		}
		sl.made[key] = of
	}
	l.sendShared(s, f, of)
	return true
}

// key is what a later broadcast must have in common with one to take its place.
func (sl *slowness) key(b *Broadcast) conflationKey {
	key := conflationKey{topic: sl.topic, event: b.Event}
	if by := sl.rule.By; by != "" && !b.Binary {
		value, _ := phx.Member(b.Payload, by)
		key.value = string(value)
	}
	return key
}

// shedDebtors keeps what waits for all sockets below OUTBOUND_BYTES_TOTAL: beyond it, the sockets that have the most waiting are aborted, on the loops that hold more than their share. Bytes that
// wait for several sockets of a loop count once.
func (l *loop) shedDebtors() {
	if l.held != l.heldSaid {
		l.srv.outboundBytes.Add(int64(l.held - l.heldSaid))
		l.heldSaid = l.held
	}
	limit := l.srv.cfg.OutboundBytesTotal
	if l.srv.outboundBytes.Load() <= int64(limit) || l.held <= limit/len(l.srv.loops) {
		return
	}
	var debtors []*socket
	for _, s := range l.slots {
		if s != nil && s.out != nil && s.watchesWrite {
			debtors = append(debtors, s)
		}
	}
	slices.SortFunc(debtors, func(a, b *socket) int { return cmp.Compare(b.out.bytes, a.out.bytes) })
	before := l.held
	for _, s := range debtors {
		if over := l.srv.outboundBytes.Load() + int64(l.held-l.heldSaid) - int64(limit); over <= 0 || l.held <= limit/len(l.srv.loops) {
			break
		}
		l.abort(s, causeOutboundTotal)
	}
	l.srv.outboundBytes.Add(int64(l.held - l.heldSaid))
	l.heldSaid = l.held
	l.srv.warn("sockets that do not read were aborted: OUTBOUND_BYTES_TOTAL was reached", "freed_bytes", before-l.held)
}
