package gateway

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/planted"
)

// gapNotice is how long after a gap a channel whose rule says notify is told: further gaps until then are told with it.
const gapNotice = time.Second

// gapped is a channel that is to be told.
type gapped struct {
	ch      *channel
	refused bool // its topic is not brought any more: it rejoins, whatever the rule says of gaps
}

// Gap implements [Inbox].
func (srv *Server) Gap(topics []string) {
	var only map[string]bool
	if topics != nil {
		only = make(map[string]bool, len(topics))
		for _, name := range topics {
			only[name] = true
		}
	}
	if topics == nil && srv.fleet != nil {
		srv.fleet.missed()
	}
	srv.hub.gap(only) // first: who joins from now on is confirmed anew, who joined before gets the mail
	for _, l := range srv.loops {
		l.mailbox.post(mailFunc(func(l *loop) { l.gap(only) }))
	}
}

// gap tells the channels of topics, with nil of all, as their rules say.
func (l *loop) gap(only map[string]bool) {
	for _, s := range l.slots {
		if s == nil {
			continue
		}
		for _, ch := range s.channels {
			switch {
			case only != nil && !only[ch.topic.name]:
				continue
			case ch.state == joining && ch.more.confirmed:
				ch.more.confirmed = l.srv.hub.confirmedAgain(ch.topic, l, l.waitFor(ch))
			case ch.state == joined:
				l.gapAt(ch, l.ruleOf(ch))
			}
			if only == nil {
				l.recheckMissed(ch)
			}
		}
	}
	l.askRechecks()
}

// GapOf implements [Inbox]: messages of one topic were dropped after those that the inbox has been given.
func (srv *Server) GapOf(topic string) {
	for i, t := range srv.hub.localTopics(topic) {
		if t != nil {
			srv.loops[i].mailbox.postBounded(missed{t}, 0)
		}
	}
}

// Full implements [Inbox].
func (srv *Server) Full(topic string) bool {
	srv.hub.mu.Lock()
	defer srv.hub.mu.Unlock()
	ht := srv.hub.topics[topic]
	if ht == nil {
		return false
	}
	full := false
	for _, t := range ht.local {
		if t != nil && !t.full.Load() {
			return false
		}
		full = full || t != nil
	}
	return full
}

// gapOf makes the members of a topic be told of a gap.
func (l *loop) gapOf(t *topic) {
	l.stats.topicGaps.add(1)
	l.srv.bus.Dropped(Dropped{Topic: t.name, Broadcasts: true, Reason: toldTopicFull}) // counted when they were dropped
	l.srv.warn("broadcasts of a topic were dropped: more came than its members can be given", "topic", t.name)
	if planted.IgnoreOverflow {
		return
	}
	rule := l.srv.rules.Load().Match(t.name)
	for _, ch := range t.members {
		l.gapAt(ch, rule)
	}
}

// gapAt sets the time at which a channel is told of a gap, unless it will be already. Those that must rejoin are spread over GapSpread, since all of them come back to be
// authorized.
func (l *loop) gapAt(ch *channel, rule *rules.Rule) {
	if ch.state != joined || ch.gapped {
		return
	}
	switch {
	case rule == nil || rule.OnGap == rules.GapRejoin:
		l.tellAt(l.soon(), gapped{ch: ch})
	case rule.OnGap == rules.GapNotify:
		l.tellAt(l.now+1+ticks(gapNotice), gapped{ch: ch})
	}
}

// soon is some time within GapSpread.
func (l *loop) soon() tick { return l.now + 1 + tick(rand.IntN(int(ticks(l.srv.cfg.GapSpread)))) }

func (l *loop) tellAt(at tick, g gapped) {
	g.ch.gapped = true
	l.gaps[at] = append(l.gaps[at], g)
}

// tickGaps tells the channels whose time has come what their rules say now. Ticks may be skipped on a busy machine.
func (l *loop) tickGaps() {
	for at, list := range l.gaps {
		if at > l.now {
			continue
		}
		delete(l.gaps, at)
		for _, g := range list {
			g.ch.gapped = false
			if g.ch.state != joined {
				continue
			}
			switch rule := l.ruleOf(g.ch); {
			case g.refused || rule == nil || rule.OnGap == rules.GapRejoin:
				l.stats.gapRejoins.add(1)
				l.crashChannel(g.ch, leftGap)
			case rule.OnGap == rules.GapNotify:
				l.push(g.ch, &ChannelMessage{Event: "gap", Payload: emptyObject})
			}
		}
	}
}

// Refused implements [Inbox]. Whatever the rule says of gaps, clients rejoin: they are told then why they get nothing.
func (srv *Server) Refused(topics []string) {
	refused := make([]map[*topic]bool, len(srv.loops))
	for _, name := range topics {
		for i, t := range srv.hub.refuse(name) {
			if t == nil {
				continue
			}
			if refused[i] == nil {
				refused[i] = map[*topic]bool{}
			}
			refused[i][t] = true
		}
	}
	for i, set := range refused {
		if set != nil {
			srv.loops[i].mailbox.post(mailFunc(func(l *loop) { l.refused(set) }))
		}
	}
}

// refused ends what there is of topics that the bus brings no more.
func (l *loop) refused(topics map[*topic]bool) {
	for _, s := range l.slots {
		if s == nil {
			continue
		}
		for _, ch := range slices.Clone(s.channels) { // a refused join is taken out
			switch {
			case !topics[ch.topic]:
			case ch.state == joining:
				l.joinConfirmed(ch, ErrUnavailable)
			case ch.state == joined:
				l.tellAt(l.soon(), gapped{ch, true})
			}
		}
	}
}
