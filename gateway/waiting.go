package gateway

import "github.com/phxgate/phxgate/gateway/phx"

// item is one message of the client that waits for its turn.
type item struct {
	kind    itemKind
	ref     phx.Ref
	joinRef phx.Ref
	event   string
	payload []byte
	binary  bool
}

type itemKind uint8

const (
	itemEvent itemKind = iota
	itemLeave
	itemJoin
	itemRefusal // an event that was refused at arrival, while a join reply must come first; event is the reason
)

// Bounds of what waits for its turn. The count of one channel's events is the contract's; the bytes are of all channels of a socket, so that one client does not
// hold a hundred times a thousand large events. All sockets together are bounded by INBOUND_BYTES_TOTAL.
const (
	maxWaiting      = 1000
	maxWaitingBytes = 4 << 20
)

// size is what an item counts in bytes.
func (it *item) size() int {
	return len(it.payload) + len(it.ref) + len(it.joinRef) + len(it.event) + 96
}

// charge counts bytes that wait at a channel; false if there is no room for them. A negative n gives them back.
func (l *loop) charge(ch *channel, n int) bool {
	s := ch.socket
	if n > 0 && (s.waiting > 0 && s.waiting+n > maxWaitingBytes || l.srv.waitingBytes.Load()+int64(n) > int64(l.srv.cfg.InboundBytesTotal)) {
		return false
	}
	ch.extra().charged += n
	s.waiting += n
	l.srv.waitingBytes.Add(int64(n))
	return true
}

// enqueue puts an item at the end; false if too much waits. A first leave and a first join always have room: without them a client would not be let go.
func (l *loop) enqueue(ch *channel, it item) bool {
	m := ch.extra()
	forced := it.kind == itemLeave || it.kind == itemJoin && m.waiting.joins == 0
	if !forced && m.waiting.n >= maxWaiting {
		return false
	}
	if !l.charge(ch, it.size()) {
		if it.kind != itemLeave {
			return false
		}
	}
	m.waiting.push(it)
	return true
}

// dequeue takes the first item.
func (l *loop) dequeue(ch *channel) (item, bool) {
	if !ch.queued() {
		return item{}, false
	}
	it, ok := ch.more.waiting.pop()
	l.charge(ch, -min(it.size(), ch.more.charged))
	return it, ok
}

// queued reports whether something waits.
func (ch *channel) queued() bool { return ch.more != nil && ch.more.waiting.n > 0 }

// again handles items that waited at a channel that is gone, in order, as if they came now: a join among them begins the channel that the rest is for.
func (l *loop) again(s *socket, topic string, waiting *items) {
	for {
		it, ok := waiting.pop()
		if !ok {
			return
		}
		ch := s.channelOf(topic)
		switch {
		case it.kind == itemRefusal:
			l.reply(s, "", it.ref, topic, "error", reasonBody(reasonUnmatchedTopic))
		case ch == nil:
			l.withoutChannel(s, it, topic)
		case it.kind == itemJoin && ch.state == joined:
			l.rejoin(ch, it)
		default:
			l.arrived(ch, it)
		}
	}
}

// queue puts an item behind what waits, or tells the client that too much does.
func (l *loop) queue(ch *channel, it item) {
	if l.enqueue(ch, it) {
		// What comes behind a join that waits belongs to the channel that it will begin.
		ch.leaving = it.kind == itemLeave || ch.leaving && it.kind != itemJoin
		return
	}
	l.stats.dropped.add(droppedOverloaded, 1)
	joinRef := ch.tag
	if it.kind == itemJoin {
		joinRef = it.joinRef
	}
	l.reply(ch.socket, joinRef, it.ref, ch.topic.name, "error", reasonBody(reasonOverloaded))
}

// arrived handles an item of a channel now, or when its turn comes.
func (l *loop) arrived(ch *channel, it item) {
	if ch.state == joining || ch.busy || ch.queued() {
		l.queue(ch, it)
		return
	}
	l.perform(ch, &it)
}

// perform handles an item whose turn has come.
func (l *loop) perform(ch *channel, it *item) {
	switch it.kind {
	case itemJoin:
		l.rejoin(ch, *it)
	case itemLeave:
		l.leave(ch, it.ref)
	case itemRefusal:
		l.reply(ch.socket, ch.tag, it.ref, ch.topic.name, "error", reasonBody(it.event))
	default:
		l.handEvent(ch, it)
	}
}

// resume handles what waits, until something must be waited for again.
func (l *loop) resume(ch *channel) {
	// A join that waits ends the channel at once; what came before it is dropped, as in Phoenix.
	if ch.state == joined && ch.queued() && ch.more.waiting.joins > 0 {
		waiting := &ch.more.waiting
		it, _ := waiting.pop()
		for it.kind != itemJoin {
			it, _ = waiting.pop()
		}
		l.rejoin(ch, it)
		l.again(ch.socket, ch.topic.name, waiting)
		return
	}
	if ch.state == draining {
		l.resumeDraining(ch)
		return
	}
	for ch.state == joined && !ch.busy {
		it, ok := l.dequeue(ch)
		if !ok {
			ch.trim()
			return
		}
		l.perform(ch, &it)
	}
}

// resumeDraining hands over the events that came before the end of the socket; nobody is answered any more.
func (l *loop) resumeDraining(ch *channel) {
	for !ch.busy {
		it, ok := l.dequeue(ch)
		switch {
		case !ok || it.kind == itemJoin: // what is behind a join belongs to a channel that never was
			l.endChannel(ch, ch.more.reason)
			return
		case it.kind == itemLeave:
			l.endChannel(ch, leftLeft)
			return
		case it.kind == itemEvent:
			l.handEvent(ch, &it)
		}
	}
}
