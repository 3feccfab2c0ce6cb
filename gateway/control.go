package gateway

import (
	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Channel implements [Inbox].
func (srv *Server) Channel(m *ChannelMessage) {
	id, ok := parseChannelID(srv.cfg.ID, m.Channel)
	if !ok || int(id.loop) >= len(srv.loops) {
		srv.dropped(droppedNoChannel, Dropped{Channel: m.Channel, Reason: toldNoChannel})
		return
	}
	srv.loops[id.loop].mailbox.postBounded(mailFunc(func(l *loop) { l.channelMessage(id, m) }), len(m.Payload))
}

// dropped counts something that a backend sent and that came to nothing, and lets the bus tell who debugs it.
func (srv *Server) dropped(reason int, d Dropped) {
	srv.stats.dropped.add(reason, 1)
	srv.bus.Dropped(d)
}

// channelMessage handles a message for one channel: a push, a late reply, or its end.
func (l *loop) channelMessage(id channelID, m *ChannelMessage) {
	ch := l.channel(id)
	if ch == nil || ch.state != joined {
		l.srv.dropped(droppedNoChannel, Dropped{Channel: m.Channel, Reason: toldNoChannel})
		return
	}
	l.flushFor(ch)
	switch {
	case m.Late != nil:
		l.answer(ch, phx.StringRef(m.Ref), m.Late, Dropped{Channel: m.Channel})
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
	size := len(ch.tag) + len(topic) + len(m.Event) + len(m.Payload) + 96
	if !m.Binary {
		l.send(s, appendFrame(make([]byte, 0, size), ws.OpText, func(dst []byte) []byte {
			return s.serializer.AppendPush(dst, ch.tag, "", topic, m.Event, m.Payload)
		}))
		return
	}
	if s.serializer == phx.V1 {
		l.srv.dropped(droppedBinaryV1, Dropped{Channel: m.Channel, Reason: toldBinaryV1})
		return
	}
	var err error
	f := appendFrame(make([]byte, 0, size), ws.OpBinary, func(dst []byte) []byte {
		var out []byte
		out, err = phx.AppendBinaryPush(dst, ch.tag, topic, m.Event, m.Payload)
		return out
	})
	if err != nil {
		l.srv.dropped(droppedBinaryField, Dropped{Channel: m.Channel, Reason: toldBinaryField})
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
