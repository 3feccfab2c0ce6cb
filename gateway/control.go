package gateway

import (
	"math/rand/v2"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/planted"
)

// Channel implements [Inbox].
func (srv *Server) Channel(m *ChannelMessage) {
	id, ok := parseChannelID(srv.cfg.ID, m.Channel)
	if !ok || int(id.loop) >= len(srv.loops) {
		srv.stats.dropped.add(droppedNoChannel, 1)
		return
	}
	srv.loops[id.loop].mailbox.postBounded(mailFunc(func(l *loop) { l.channelMessage(id, m) }), len(m.Payload))
}

// channelMessage handles a message for one channel: a push, a late reply, or its end.
func (l *loop) channelMessage(id channelID, m *ChannelMessage) {
	ch := l.channel(id)
	if ch == nil || ch.state != joined {
		l.stats.dropped.add(droppedNoChannel, 1)
		return
	}
	l.flushTopic(ch.topic)
	switch {
	case m.Late != nil:
		l.answer(ch, phx.StringRef(m.Ref), m.Late)
		if ch.state == joined && !ch.busy {
			l.resume(ch)
		}
		return
	case m.Event != "":
		l.push(ch, m)
	}
	switch m.Action {
	case ActionClose:
		l.closeChannel(ch, leftClosed)
	case ActionCrash:
		l.crashChannel(ch, leftCrashed)
	}
}

// push sends a backend's push to one channel's client.
func (l *loop) push(ch *channel, m *ChannelMessage) {
	s, topic := ch.socket, ch.topic.name
	size := len(topic) + len(m.Event) + len(m.Payload) + 96
	if !m.Binary {
		l.send(s, appendFrame(make([]byte, 0, size), ws.OpText, func(dst []byte) []byte {
			return s.serializer.AppendPush(dst, ch.tag, "", topic, m.Event, m.Payload)
		}))
		return
	}
	if s.serializer == phx.V1 {
		l.stats.dropped.add(droppedBinaryV1, 1)
		return
	}
	var err error
	f := appendFrame(make([]byte, 0, size), ws.OpBinary, func(dst []byte) []byte {
		var out []byte
		out, err = phx.AppendBinaryPush(dst, ch.tag, topic, m.Event, m.Payload)
		return out
	})
	if err != nil {
		l.stats.dropped.add(droppedBinaryField, 1) // a join_ref beyond 255 bytes has no binary form
		return
	}
	l.send(s, f)
}

// Socket implements [Inbox].
func (srv *Server) Socket(m *SocketMessage) {
	for _, l := range srv.loops {
		l.mailbox.postBounded(mailFunc(func(l *loop) { l.socketMessage(m) }), len(m.ID))
	}
}

// socketMessage handles an order for all sockets of an id.
func (l *loop) socketMessage(m *SocketMessage) {
	for s := l.ids[m.ID]; s != nil; {
		next := s.nextSameID // ending the socket takes it out of the list, and no other
		switch m.Action {
		case ActionDisconnect:
			l.closeSocket(s, causeDisconnect)
		case ActionLeave:
			if ch := s.channelOf(m.Topic); ch != nil && ch.state == joined {
				l.closeChannel(ch, leftKicked)
			}
		}
		s = next
	}
}

// Gap implements [Inbox]: messages of every topic may have been missed.
func (srv *Server) Gap() {
	if planted.NoGapNotice {
		return
	}
	for _, l := range srv.loops {
		l.mailbox.post(mailFunc(func(l *loop) { l.gap() }))
	}
}

// gap tells the channels as their rules say. Those that must rejoin are spread over GapSpread, since all of them come back to be authorized.
func (l *loop) gap() {
	spread := int(ticks(l.srv.cfg.GapSpread))
	for _, s := range l.slots {
		if s == nil {
			continue
		}
		for _, ch := range s.channels {
			if ch.state != joined || ch.gapped {
				continue
			}
			rule := l.ruleOf(ch)
			switch {
			case rule == nil || rule.OnGap == rules.GapRejoin:
				ch.gapped = true
				at := l.now + 1 + tick(rand.IntN(spread))
				l.gaps[at] = append(l.gaps[at], ch)
			case rule.OnGap == rules.GapNotify:
				l.push(ch, &ChannelMessage{Event: "gap", Payload: emptyObject})
			}
		}
	}
}

// tickGaps ends the channels whose time to rejoin has come. Ticks may be skipped on a busy machine.
func (l *loop) tickGaps() {
	for at, channels := range l.gaps {
		if at > l.now {
			continue
		}
		delete(l.gaps, at)
		for _, ch := range channels {
			if ch.state == joined {
				l.stats.gapRejoins.add(1)
				l.crashChannel(ch, leftGap)
			}
		}
	}
}
