package gateway

// pending are the broadcasts of one topic that a loop has not fanned out yet, in order. A topic has one only while there are some; its loop keeps the empty ones. Usually they
// go out at the end of the turn that brought them; heavy ones as heavy.go says.
type pending struct {
	topic *topic
	list  []*encoded
	bytes int // of the frames in list, each once

	heavy  bool // it is among loop.heavy, or parked
	parked bool // its first broadcast is being decided about (filter.go)
	missed bool // something was dropped behind list: members are told when list is out, and until then all else is dropped too
	// ahead says of channels how many of list they must not get: they were given them before the others, or joined later.
	ahead map[*channel]int
}

// delivery brings a broadcast to a loop.
type delivery struct {
	t *topic
	e *encoded
}

func (d *delivery) deliver(l *loop) {
	p := l.pendingOf(d.t)
	if d.e.filter != nil && !p.heavy {
		l.addHeavy(p)
	}
	switch {
	case !p.heavy:
		l.work += d.e.size * len(d.t.members)
	case !d.e.kept && !l.hasRoom(p, d.e.size):
		p.miss()
		l.stats.dropped.add(droppedTopicFull, 1)
		return
	default:
		l.heavyBytes += d.e.size
	}
	p.list = append(p.list, d.e)
	p.bytes += d.e.size
}

// missed brings the news that broadcasts of a topic were dropped before they came to the loop.
type missed struct{ t *topic }

func (m missed) deliver(l *loop) { l.pendingOf(m.t).miss() }

// miss notes that something was dropped behind what waits.
func (p *pending) miss() {
	p.missed = true
	p.topic.full.Store(true)
}

// pendingOf returns what a topic has waiting, made if there is nothing.
func (l *loop) pendingOf(t *topic) *pending {
	if t.pending == nil {
		if n := len(l.spares); n > 0 {
			t.pending, l.spares = l.spares[n-1], l.spares[:n-1]
		} else {
			t.pending = &pending{}
		}
		t.pending.topic = t
		l.dirtyTopics = append(l.dirtyTopics, t)
	}
	return t.pending
}

// flushTopics fans out the broadcasts of this turn, but for heavy ones.
func (l *loop) flushTopics() {
	for i, t := range l.dirtyTopics {
		l.dirtyTopics[i] = nil
		p := t.pending
		switch {
		case p == nil || p.heavy: // it went out for the sake of a push or a join, or is waiting already
		case l.isHeavy(p):
			l.addHeavy(p)
		default:
			l.flushPending(p, len(p.list))
		}
	}
	l.dirtyTopics = l.dirtyTopics[:0]
}

// flushFor fans out what a channel's topic has waiting before anything else is done for that channel: it keeps the order in which the bus brought them. Of a heavy topic, the channel alone
// gets its broadcasts now.
func (l *loop) flushFor(ch *channel) {
	p := ch.topic.pending
	switch {
	case p == nil:
	case p.heavy:
		l.advance(p, ch)
	default:
		l.flushPending(p, len(p.list))
	}
}

// flushPending fans out the first n broadcasts and, after the last, lets p go.
func (l *loop) flushPending(p *pending, n int) {
	withheld := 0
	for rest := p.list[:n]; len(rest) > 0; {
		k := l.batch(rest)
		withheld += l.fanOut(p, rest[:k])
		rest = rest[k:]
	}
	l.stats.deliveries.add(len(p.topic.members)*n - withheld)
	for _, e := range p.list[:n] {
		p.bytes -= e.size
	}
	clear(p.list[:n])
	if n < len(p.list) {
		p.list = p.list[n:]
		return
	}
	t := p.topic
	t.pending = nil
	if p.missed {
		t.full.Store(false) // before the gap is told: what is dropped later is another
		l.gapOf(t)
	}
	if cap(p.list) > 64 {
		p.list = nil
	}
	*p = pending{list: p.list[:0]}
	l.spares = append(l.spares, p)
}
