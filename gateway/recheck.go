package gateway

import (
	"time"

	"github.com/phxgate/phxgate/gateway/rules"
)

// Backends order that channels be authorized anew, all of a topic or of the sockets of an id, however many there are. So the orders only mark and queue channels; the authorizer is
// asked about them at the pace of Config.RechecksPerSecond, and never about more than recheckUnderWay at once.
const (
	// recheckUnderWay is of all loops together: a slow service has so many waiting, and answers joins beside them.
	recheckUnderWay = 256
	// recheckRetry is the pause before a channel is asked about again, for want of an answer.
	recheckRetry = 2 * time.Second
	// recheckPatience is how long that goes on. Then the channel must rejoin: nobody says that it is still allowed.
	recheckPatience = 30 * time.Second
)

// rechecks are the channels of a loop that wait to be asked about. Those that have ended meanwhile are passed over when their turn comes.
type rechecks struct {
	queue []*channel
	late  []lateRecheck     // that got no answer, in the order of their times
	since map[*channel]tick // when a channel got none for the first time
}

type lateRecheck struct {
	ch *channel
	at tick
}

// RecheckTopic implements [Inbox].
func (srv *Server) RecheckTopic(topic string) {
	for i, t := range srv.hub.localTopics(topic) {
		if t != nil {
			srv.loops[i].mailbox.postBounded(mailFunc(func(l *loop) { l.recheckTopic(t) }), 0)
		}
	}
}

// RecheckSocket implements [Inbox].
func (srv *Server) RecheckSocket(id string) {
	for _, l := range srv.loops {
		l.mailbox.postBounded(mailFunc(func(l *loop) { l.recheckSockets(id) }), len(id))
	}
}

func (l *loop) recheckTopic(t *topic) {
	t.rechecks++ // for those that are joining
	for _, ch := range t.members {
		l.recheck(ch)
	}
	l.askRechecks()
}

func (l *loop) recheckSockets(id string) {
	for s := l.ids[id]; s != nil; s = s.nextSameID {
		for _, ch := range s.channels {
			if ch.state == joining {
				ch.more.recheck = true
			} else {
				l.recheck(ch)
			}
		}
	}
	l.askRechecks()
}

// recheckMissed takes it that an order for a channel was missed in a gap of everything. One that rejoins is authorized by that.
func (l *loop) recheckMissed(ch *channel) {
	switch rule := l.ruleOf(ch); {
	case ch.authz&authzDecided == 0:
	case ch.state == joining:
		ch.more.recheck = true
	case rule != nil && rule.OnGap != rules.GapRejoin:
		l.recheck(ch)
	}
}

// recheck makes a joined channel wait to be asked about, unless it does. If it is being asked about, the answer may be of a time before.
func (l *loop) recheck(ch *channel) {
	switch {
	case ch.authz&recheckAsking != 0:
		ch.authz |= recheckAgain
	case ch.authz&recheckQueued == 0:
		ch.authz |= recheckQueued
		l.rechecks.queue = append(l.rechecks.queue, ch)
	}
}

// askRechecks asks about as many channels as the pace allows now.
func (l *loop) askRechecks() {
	r := &l.rechecks
	for len(r.queue) > 0 {
		ch := r.queue[0]
		if ch.state == joined && (l.srv.rechecking.Load() >= recheckUnderWay || !l.srv.recheckPace.Allow()) {
			return
		}
		r.queue[0] = nil
		r.queue = r.queue[1:]
		ch.authz &^= recheckQueued
		if ch.state == joined {
			l.askRecheck(ch)
		} else {
			delete(r.since, ch)
		}
	}
	r.queue = nil
}

// tickRechecks brings back those that are to be tried again.
func (l *loop) tickRechecks() {
	r := &l.rechecks
	for len(r.late) > 0 && l.now >= r.late[0].at {
		r.queue = append(r.queue, r.late[0].ch)
		r.late[0] = lateRecheck{}
		if r.late = r.late[1:]; len(r.late) == 0 {
			r.late = nil
		}
	}
	l.askRechecks()
}

// askRecheck does with a channel what its rule, as it is now, would do with its join.
func (l *loop) askRecheck(ch *channel) {
	rule, params := l.ruleOf(ch), l.params.get(ch)
	switch {
	case rule == nil || rule.Join == rules.JoinDeny:
		l.stats.rechecks.add(recheckRefused, 1)
		l.revoke(ch)
	case rule.Join == rules.JoinAllow:
		l.stats.rechecks.add(recheckAllowed, 1)
	case ch.authz&authzDecided == 0 || params.missing != "": // nobody knows with what it would be asked about
		l.endRecheck(ch)
	case rule.Join == rules.JoinIf:
		l.rechecked(ch, params, l.conditionDecides(ch, rule, []byte(params.raw)), nil)
	default:
		ch.authz |= recheckAsking
		l.srv.rechecking.Add(1)
		l.authorize(ch, &JoinRequest{Params: []byte(params.raw), Recheck: true}, func(ch *channel, d *JoinDecision, err error) {
			l.srv.rechecking.Add(-1)
			l.rechecked(ch, params, d, err)
			l.askRechecks()
		})
	}
}

// rechecked takes the answer.
func (l *loop) rechecked(ch *channel, params *joinParams, d *JoinDecision, err error) {
	again := ch.authz&recheckAgain != 0
	ch.authz &^= recheckAsking | recheckAgain
	switch {
	case ch.state != joined:
		delete(l.rechecks.since, ch)
	case l.params.get(ch) != params: // a reauthorization has overtaken it
		l.recheck(ch)
	case err != nil:
		l.srv.warn("recheck not decided", "channel", ch.id(), "err", err)
		l.recheckLater(ch)
	case !d.OK || d.isPast():
		delete(l.rechecks.since, ch)
		l.stats.rechecks.add(recheckRefused, 1)
		l.revoke(ch)
	default:
		delete(l.rechecks.since, ch)
		l.stats.rechecks.add(recheckAllowed, 1)
		if !l.grant(ch, d) {
			return
		}
		ch.trim()
		if again {
			l.recheck(ch)
		}
	}
}

// recheckLater makes a channel about which there was no answer wait for the next try, or rejoin.
func (l *loop) recheckLater(ch *channel) {
	r := &l.rechecks
	first, tried := r.since[ch]
	if !tried {
		first, r.since[ch] = l.now, l.now
	}
	if l.now-first >= ticks(recheckPatience) {
		l.endRecheck(ch)
		return
	}
	l.stats.rechecks.add(recheckUnanswered, 1)
	ch.authz |= recheckQueued
	r.late = append(r.late, lateRecheck{ch, l.after(recheckRetry)})
}

// endRecheck makes a channel rejoin that cannot be asked about.
func (l *loop) endRecheck(ch *channel) {
	delete(l.rechecks.since, ch)
	l.stats.rechecks.add(recheckEnded, 1)
	l.crashChannel(ch, leftExpired)
}
