package gateway

import (
	"slices"
	"sync/atomic"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// topic is one topic on one loop: the channels that get its broadcasts. Owned by the loop, except refs.
type topic struct {
	name     string
	members  []*channel
	pending  *pending    // broadcasts that are not fanned out yet; nil for none
	refs     int         // channels of this loop that have joined or are joining; guarded by hub.mu
	rechecks uint32      // how often its channels were to be authorized anew
	full     atomic.Bool // its loop drops its broadcasts for now; read by anybody
}

// encoded is a broadcast with its frame for each form in use, made once for the gateway and shared by all members. It is not changed after
// the hub made it.
type encoded struct {
	b      *Broadcast
	frames [numForms][]byte
	size   int // of the largest of the frames, in bytes
	// from is the sending channel, where it is one of this gateway's.
	from    channelID
	hasFrom bool
	kept    bool       // never dropped for want of room: whoever made it bounds how many there are
	filter  *undecided // nil: every member gets it
}

// frame returns the broadcast's frame in a form, nil where that does not exist: bytes for V1.
func (e *encoded) frame(f form) []byte {
	if made := e.frames[f]; made != nil {
		return made
	}
	return e.make(f) // the first member of this form joined after the hub encoded
}

// make makes the frame in a form.
func (e *encoded) make(f form) []byte {
	if f.deflates() {
		return deflateFrame(e.frame(formOf(f.serializer(), false)))
	}
	return encodeBroadcast(f.serializer(), e.b)
}

// makeAll makes what there is not yet of some forms.
func (e *encoded) makeAll(forms *[numForms]bool) {
	for f, inUse := range forms {
		if inUse && e.frames[f] == nil {
			e.frames[f] = e.make(form(f))
		}
	}
}

// encodeBroadcast makes the frame of a broadcast; nil where the form does not exist.
func encodeBroadcast(s phx.Serializer, b *Broadcast) []byte {
	size := len(b.Topic) + len(b.Event) + len(b.Payload) + 64
	if !b.Binary {
		return appendFrame(make([]byte, 0, size), ws.OpText, func(dst []byte) []byte {
			return s.AppendBroadcast(dst, b.Topic, b.Event, b.Payload)
		})
	}
	if s == phx.V1 {
		return nil
	}
	bad := false
	f := appendFrame(make([]byte, 0, size), ws.OpBinary, func(dst []byte) []byte {
		out, err := phx.AppendBinaryBroadcast(dst, b.Topic, b.Event, b.Payload)
		bad = err != nil
		return out
	})
	if bad {
		return nil // cannot be: topics and events of more than 255 bytes do not come this far
	}
	return f
}

// batch is how many of the broadcasts go out as one slice: what one write takes, and never more than may wait for one socket, but at least one.
func (l *loop) batch(pending []*encoded) int {
	size, limit := 0, min(gatherBytes, l.srv.cfg.OutboundBytes)
	for i, e := range pending {
		size += e.size
		if i > 0 && size > limit {
			return i
		}
	}
	return len(pending)
}

// fanOut gives broadcasts to every member, as one slice that all of them share, unless there is something to filter. withheld counts what rules kept from members.
func (l *loop) fanOut(p *pending, batch []*encoded) (withheld int) {
	t := p.topic
	filtered := false
	l.skipAhead(p, len(batch))
	for i, e := range batch {
		filtered = filtered || e.filtered()
		if ch := l.sender(t, e); ch != nil && len(l.excluded[ch]) <= i { // else it is ahead of this one
			ch.excluded = true
			l.excluded[ch] = append(l.excluded[ch], i)
		}
	}
	if filtered {
		withheld = l.fanOutFiltered(t, batch)
	} else {
		l.fanOutToAll(t, batch)
	}
	for ch := range l.excluded {
		ch.excluded = false
	}
	clear(l.excluded)
	return withheld
}

func (l *loop) fanOutToAll(t *topic, batch []*encoded) {
	var joined [numForms][]byte
	var shared [numForms]*sharedFrame
	var made [numForms]bool
	slow := l.slowOf(t)
	noForm := 0
	for _, ch := range t.members {
		s := ch.socket
		form := s.form()
		if !made[form] {
			f := joinFrames(batch, form)
			joined[form], shared[form], made[form] = f, slow.shared(batch, f), true
		}
		switch f := joined[form]; {
		case f == nil:
			noForm++
		case slow.conflates(s):
			l.sendEach(ch, batch, &slow)
		case ch.excluded:
			l.sendWithout(ch, batch, f, shared[form])
		default:
			l.sendShared(s, f, shared[form])
		}
	}
	if noForm > 0 {
		l.stats.dropped.add(droppedBinaryV1, noForm)
	}
}

// sendWithout sends a member the joined frames but for those that must not go to it: the runs between them.
func (l *loop) sendWithout(ch *channel, batch []*encoded, joined []byte, of *sharedFrame) {
	form := ch.socket.form()
	from, end, next := 0, 0, l.excluded[ch]
	for i, e := range batch {
		start := end
		end += len(e.frame(form))
		if len(next) == 0 {
			break
		}
		if next[0] == i {
			next = next[1:]
			l.sendShared(ch.socket, joined[from:start], of)
			from = end
		}
	}
	l.sendShared(ch.socket, joined[from:], of)
}

// sendEach sends a member the broadcasts in frames of their own, but for those that must not go to it.
func (l *loop) sendEach(ch *channel, batch []*encoded, slow *slowness) {
	for i, e := range batch {
		if !ch.excluded || !slices.Contains(l.excluded[ch], i) {
			l.sendOne(slow, ch, e)
		}
	}
}

// sender returns the member that must not get the broadcast, nil if it is none of this topic's.
func (l *loop) sender(t *topic, e *encoded) *channel {
	if !e.hasFrom || int(e.from.loop) != l.id {
		return nil
	}
	ch := l.channel(e.from)
	if ch == nil || ch.topic != t || ch.member < 0 {
		return nil
	}
	return ch
}

// joinFrames puts the frames of several broadcasts into one slice.
func joinFrames(pending []*encoded, f form) []byte {
	if len(pending) == 1 {
		return pending[0].frame(f)
	}
	size := 0
	for _, e := range pending {
		size += len(e.frame(f))
	}
	if size == 0 {
		return nil
	}
	out := make([]byte, 0, size)
	for _, e := range pending {
		out = append(out, e.frame(f)...)
	}
	return out
}

// addMember puts a channel among those that get broadcasts.
func (t *topic) addMember(ch *channel) {
	ch.member = int32(len(t.members))
	t.members = append(t.members, ch)
}

// removeMember takes it out.
func (t *topic) removeMember(ch *channel) {
	last := len(t.members) - 1
	t.members[ch.member] = t.members[last]
	t.members[ch.member].member = ch.member
	t.members[last] = nil
	t.members = t.members[:last]
	if last == 0 {
		t.members = nil
	}
	ch.member = -1
}
