package gateway

import (
	"errors"
	"slices"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// errPresenceKey: what the rule's source holds is neither a string nor a number. The words are the contract's.
var errPresenceKey = errors.New("invalid presence key")

// part is what a channel has to do with its topic's presence.
type part struct {
	takes   bool
	counted bool // it is told how many are there, and not who
	tracked bool
	key     string
	meta    []byte
}

// partOf says what part a channel takes, by its join's decision or its rule; an error refuses the join.
func (l *loop) partOf(ch *channel, d *JoinDecision) (p part, err error) {
	presence := l.srv.cfg.Presence
	rule := l.ruleOf(ch)
	if presence == nil || d.Presence == nil && (rule == nil || rule.Presence == nil) {
		return part{}, nil
	}
	p.takes = true
	p.counted = rule != nil && rule.Presence != nil && rule.Presence.Count
	switch {
	case d.Presence != nil:
		p.tracked, p.key, p.meta = d.Presence.Tracked, d.Presence.Key, d.Presence.Meta
	case rule.Presence.Key != nil:
		env := rules.Env{Assigns: d.Assigns, SocketID: ch.socket.id, Params: ch.more.params}
		if p.key, p.tracked, err = presenceKey(rule.Presence.Key, env); err != nil {
			return part{}, err
		}
	}
	if !p.tracked {
		return p, nil
	}
	if err := presence.CheckKey(p.key); err != nil {
		return part{}, err
	}
	p.meta, err = presence.CleanMeta(p.meta)
	return p, err
}

// presenceKey is the key that a rule's source holds; false: it is not there, and the channel watches only. Keys are always strings: a number becomes its text.
func presenceKey(source *rules.Source, env rules.Env) (key string, ok bool, err error) {
	raw, ok := source.Lookup(env)
	raw = phx.TrimJSON(raw)
	if !ok || string(raw) == "null" {
		return "", false, nil
	}
	if c := raw[0]; c == '-' || c >= '0' && c <= '9' {
		return string(raw), true, nil
	}
	text, err := phx.AppendUnquote(nil, raw)
	if err != nil { // no string
		return "", false, errPresenceKey
	}
	return string(text), true, nil
}

// joinPresence begins a channel's part.
func (l *loop) joinPresence(ch *channel, p part) {
	if !p.takes {
		return
	}
	ch.present = true
	l.srv.cfg.Presence.Join(ch.id(), ch.topic.name, ch.socket.id, p.counted, p.tracked, p.key, p.meta, ch.assigns)
}

// leavePresence ends it, where there is one.
func (l *loop) leavePresence(ch *channel, reason string) {
	if !ch.present {
		return
	}
	ch.present = false
	lingers := reason == leftGap || reason == leftExpired || reason == leftDrained
	l.srv.cfg.Presence.Leave(ch.id(), lingers)
	if lingers {
		l.lingers(ch)
	}
}

// lingering is a channel that this side ended, while the socket stays, and whose presence waits for its user.
type lingering struct{ topic, channel string }

// lingers notes a channel, the last one of each topic, and of those no more than a socket may have channels.
func (l *loop) lingers(ch *channel) {
	list := slices.DeleteFunc(l.lingering[ch.socket], func(c lingering) bool { return c.topic == ch.topic.name })
	if len(list) >= l.srv.cfg.MaxChannelsPerSocket {
		list = slices.Delete(list, 0, 1)
	}
	l.lingering[ch.socket] = append(list, lingering{ch.topic.name, ch.id()})
}

// endLinger: what lingers of a topic on a socket is over. Its client has left, the authz service does not let it back in, or it is back as a channel that cannot take the old one's
// place, since its socket is anonymous.
func (l *loop) endLinger(s *socket, topic string) {
	list := l.lingering[s]
	i := slices.IndexFunc(list, func(c lingering) bool { return c.topic == topic })
	if i < 0 {
		return
	}
	l.srv.cfg.Presence.Leave(list[i].channel, false)
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(l.lingering, s)
	} else {
		l.lingering[s] = list
	}
}

// endLingers: a socket ends. Unless this side ended it, its user is gone.
func (l *loop) endLingers(s *socket, c cause) {
	if c.left() == leftDisconnected {
		for _, ch := range l.lingering[s] {
			l.srv.cfg.Presence.Leave(ch.channel, false)
		}
	}
	delete(l.lingering, s)
}

// updatePresence hands over what a client's event changes in its own meta. What is behind the event waits for the answer, which is made in this process: so replies keep the order of
// the events, and a leave does not cut them off.
func (l *loop) updatePresence(ch *channel, it *item, er *rules.EventRule) {
	ref, reply := it.ref, er.Reply
	ch.busy = true
	l.srv.cfg.Presence.Update(ch.id(), er.Fields, it.payload, func(err error) {
		l.mailbox.post(mailFunc(func(l *loop) { l.presenceUpdated(ch, ref, reply, err) }))
	})
}

// presenceUpdated goes on when an update was accepted, or refused with an error.
func (l *loop) presenceUpdated(ch *channel, ref phx.Ref, reply bool, err error) {
	outcome := int(rules.PresenceUpdate)
	if err != nil {
		outcome = eventRefused
	}
	l.stats.events.add(outcome, 1)
	ch.busy = false
	if ch.state == joined {
		switch {
		case err != nil:
			l.reply(ch.socket, ch.tag, ref, ch.topic.name, "error", errorBody(err))
		case reply:
			l.reply(ch.socket, ch.tag, ref, ch.topic.name, "ok", emptyObject)
		}
	}
	l.resume(ch)
}

// PushPresence pushes an event of presence to one channel; payload is shared with others and is not changed. A channel that is gone is ignored. It waits while the loop's mailbox is
// full.
func (srv *Server) PushPresence(channel, event string, payload []byte) {
	id, ok := parseChannelID(srv.cfg.ID, channel)
	if !ok || int(id.loop) >= len(srv.loops) {
		return
	}
	srv.loops[id.loop].mailbox.postBounded(mailFunc(func(l *loop) {
		ch := l.channel(id)
		if ch == nil || ch.state != joined {
			return
		}
		l.flushFor(ch) // diffs that came before
		l.work += len(payload)
		l.push(ch, &ChannelMessage{Event: event, Payload: payload})
	}), len(payload))
}

// BroadcastPresence sends an event of presence to every member of a topic here. It waits while a loop's mailbox is full. A flood of the topic does not make it be dropped, since
// clients would keep a wrong list: the presence service merges the diffs of a busy topic.
func (srv *Server) BroadcastPresence(topic, event string, payload []byte) {
	srv.broadcast(&encoded{b: &Broadcast{Topic: topic, Event: event, Payload: payload}, kept: true})
}

// FindChannel looks for a joined channel that a backend wants to track. If it is there, Presence is told when it ends. found is called once, on the loop that would own the channel or
// on the caller's goroutine, and must not wait; after Serve it may not be called.
func (srv *Server) FindChannel(channel string, found func(topic, socketID string, assigns []byte, ok bool)) {
	id, ok := parseChannelID(srv.cfg.ID, channel)
	if !ok || int(id.loop) >= len(srv.loops) {
		found("", "", nil, false)
		return
	}
	srv.loops[id.loop].mailbox.post(mailFunc(func(l *loop) {
		ch := l.channel(id)
		if ch == nil || ch.state != joined {
			found("", "", nil, false)
			return
		}
		ch.present = true
		found(ch.topic.name, ch.socket.id, ch.assigns, true)
	}))
}
