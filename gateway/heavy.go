package gateway

// Broadcasts of a topic are heavy where writing them to all members would hold up the loop: a flood, or a very large room. Their fan-out takes turns with all else. A round
// gives every member the next of them, at most half of what may wait for a socket; then each turn of the loop writes a slice of the sockets concerned, and takes mail and reads in
// between. The next round, of this topic or of another that is heavy, begins when all have been written to. So what a heavy topic has waiting costs others a slice, however much it is, and
// a member that reads is not aborted for what the loop had no time to write.
//
// What waits meanwhile is bounded for each topic and for all. Beyond that, broadcasts of the topic are dropped until those that wait are out; then its members are told of a
// gap, and what comes next is taken again: nothing that is older than the gap comes after it.

// Costs are counted in bytes written; a write costs about as much as writeCost bytes, the end of a socket as abortCost.
const (
	writeCost = 4 << 10
	abortCost = 128 << 10
	// heavyWork is the cost from which a topic's broadcasts of one turn are heavy: some 5 to 20 ms.
	heavyWork = 16 << 20
	// sliceWork is how much of a round is written in a turn: some 2 to 5 ms.
	sliceWork = 4 << 20
)

// Bounds of what heavy topics have waiting on one loop, in bytes, each frame counted once.
const (
	heavyBytes = 64 << 20 // all together
	// One topic: what costs heavyTopicWork, about half a second, but no more than heavyTopicBytes, and no less than what one socket may have waiting.
	heavyTopicBytes = 8 << 20
	heavyTopicWork  = 1 << 30
)

// isHeavy reports whether a topic's broadcasts must not go out at once.
func (l *loop) isHeavy(p *pending) bool {
	return p.bytes > l.roundBytes() || len(p.topic.members)*(p.bytes+writeCost) > heavyWork
}

// roundBytes is how much a round gives each member, unless a single message is larger.
func (l *loop) roundBytes() int { return l.srv.cfg.OutboundBytes / 2 }

// addHeavy makes a topic wait for its rounds.
func (l *loop) addHeavy(p *pending) {
	p.heavy = true
	l.heavy = append(l.heavy, p)
	l.heavyBytes += p.bytes
}

// hasRoom reports whether a heavy topic may have another broadcast waiting.
func (l *loop) hasRoom(p *pending, size int) bool {
	most := min(max(heavyTopicWork/max(len(p.topic.members), 1), l.srv.cfg.OutboundBytes), heavyTopicBytes)
	return !p.missed && p.bytes+size <= most && len(p.list) < mailboxCount && l.heavyBytes+size <= heavyBytes
}

// flushHeavy writes a slice of the round, and begins the next if there is none. It reports whether nothing is left to do.
func (l *loop) flushHeavy() (idle bool) {
	if len(l.round) == 0 {
		l.nextRound()
	}
	done := 0
	for work := 0; done < len(l.round) && work < sliceWork; done++ {
		work += l.flushCost(l.round[done])
		l.round[done] = nil
	}
	if l.round = l.round[done:]; len(l.round) == 0 {
		l.round = l.roundSpare[:0]
	}
	return len(l.round)+len(l.heavy) == 0
}

// flushCost is flush, and returns what it cost.
func (l *loop) flushCost(s *socket) int {
	o := s.out
	if o == nil {
		l.flush(s)
		return writeCost
	}
	before := o.bytes
	l.flush(s)
	if s.state == gone {
		return abortCost
	}
	return writeCost + before - o.bytes
}

// nextRound gives the members of the first heavy topic the next of its broadcasts.
func (l *loop) nextRound() {
	var p *pending
	n, bytes := 0, 0
	for n == 0 {
		if len(l.heavy) == 0 {
			return
		}
		p = l.heavy[0]
		l.heavy[0] = nil
		l.heavy = l.heavy[1:]
		for n < len(p.list) && p.list[n].ready() && (n == 0 || bytes+p.list[n].size <= l.roundBytes()) {
			bytes += p.list[n].size
			n++
		}
		p.parked = n == 0
	}
	l.heavyBytes -= bytes
	last := n == len(p.list)
	first := len(l.dirty)
	l.flushPending(p, n)
	if !last {
		l.heavy = append(l.heavy, p)
	}
	// The sockets that this made dirty are the round.
	for i, s := range l.dirty[first:] {
		s.isDirty = false
		l.round = append(l.round, s)
		l.dirty[first+i] = nil
	}
	l.dirty = l.dirty[:first]
	l.roundSpare = l.round
}

// advance gives one member what its heavy topic has waiting, before the others; one that is not a member yet will not get it.
func (l *loop) advance(p *pending, ch *channel) {
	if ch.member >= 0 {
		slow := l.slowOf(p.topic)
		for _, e := range p.list[p.ahead[ch]:] {
			if l.sender(p.topic, e) == ch {
				continue
			}
			v := l.verdict(ch, e, nil)
			if v == nil {
				continue
			}
			if !l.sendOne(&slow, ch, v) {
				l.stats.dropped.add(droppedBinaryV1, 1)
			}
		}
	}
	if p.ahead == nil {
		p.ahead = map[*channel]int{}
	}
	p.ahead[ch] = len(p.list)
}

// skipAhead excludes from a batch, the first of p.list, those who must not get all of it. Some may be no members any more.
func (l *loop) skipAhead(p *pending, batch int) {
	for ch, n := range p.ahead {
		ch.excluded = true
		for i := range min(n, batch) {
			l.excluded[ch] = append(l.excluded[ch], i)
		}
		if n <= batch {
			delete(p.ahead, ch)
		} else {
			p.ahead[ch] = n - batch
		}
	}
}
