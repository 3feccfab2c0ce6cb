package gateway

// send appends a frame to what waits for the socket; it is written at the end of the turn. Frames are never changed afterwards. Beyond
// OUTBOUND_BYTES the socket is doomed: it does not read.
func (l *loop) send(s *socket, frame []byte) {
	if s.deflates {
		frame = deflateFrame(frame)
	}
	l.sendShared(s, frame, nil)
}

// sendShared is send for a frame of which the loop knows more: it may be dropped, or the room be made by dropping others, as slow.go says.
func (l *loop) sendShared(s *socket, frame []byte, of *sharedFrame) {
	if s.state == gone || s.state == closing || s.doom != causeNone || len(frame) == 0 {
		return
	}
	o := s.out
	if o == nil {
		if n := len(l.outboxes); n > 0 {
			o, l.outboxes = l.outboxes[n-1], l.outboxes[:n-1]
		} else {
			o = &outbox{held: &l.held}
		}
		s.out = o
	} else if o.bytes > 0 && o.bytes+len(frame) > l.srv.cfg.OutboundBytes {
		// It may only be this turn that made so much.
		l.write(s)
		if s.doom == causeNone && !l.makeRoom(s, len(frame)) {
			if of != nil && of.droppable != nil {
				l.dropped(s, of.droppable)
				return
			}
			s.doom = causeSlow
		}
		if s.doom != causeNone {
			l.markDirty(s)
			return
		}
	}
	if o.push(frame, of) {
		l.stats.dropped.add(droppedConflated, 1)
	}
	if !s.watchesWrite {
		l.markDirty(s)
	}
}

// markDirty puts the socket among those that are looked at when the turn ends.
func (l *loop) markDirty(s *socket) {
	if !s.isDirty {
		s.isDirty = true
		l.dirty = append(l.dirty, s)
	}
}

// write writes what goes without waiting; a socket that cannot be written to is doomed. blocked: the rest goes when the poller says so.
func (l *loop) write(s *socket) (blocked bool) {
	o := s.out
	before := o.bytes
	blocked, err := s.tr.write(s, o)
	l.stats.bytesOut.add(before - o.bytes)
	if err != nil {
		s.doom = causeWrite
	}
	return blocked
}

// flushSockets writes what this turn made.
func (l *loop) flushSockets() {
	for i := 0; i < len(l.dirty); i++ {
		s := l.dirty[i]
		l.dirty[i] = nil
		s.isDirty = false
		l.flush(s)
	}
	l.dirty = l.dirty[:0]
}

// flush writes what a socket has, and ends it if it is doomed.
func (l *loop) flush(s *socket) {
	if s.state == gone {
		return
	}
	if o := s.out; o != nil && s.doom == causeNone {
		if l.write(s) {
			return
		}
		if s.doom == causeNone {
			s.out = nil
			o.reset()
			l.outboxes = append(l.outboxes, o)
		}
	}
	if c := s.doom; c != causeNone {
		s.doom = causeNone
		if c.code() != 0 && s.state == open {
			l.closeSocket(s, c)
		} else {
			l.abort(s, c)
		}
		return
	}
	if s.state == closing {
		s.tr.closeWrite(s)
	}
}
