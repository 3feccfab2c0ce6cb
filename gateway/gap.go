package gateway

import (
	"math/rand/v2"
	"slices"

	"github.com/phxgate/phxgate/gateway/rules"
)

// Gap implements [Inbox].
func (srv *Server) Gap(topics []string) {
	var only map[string]bool
	if topics != nil {
		only = make(map[string]bool, len(topics))
		for _, name := range topics {
			only[name] = true
		}
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
			case ch.state == joining && ch.more.confirmed:
				ch.more.confirmed = l.srv.hub.confirmedAgain(ch.topic, l, l.waitFor(ch))
			case ch.state == joined:
				l.tellGap(ch)
			}
		}
	}
}

// tellGap tells one channel as its rule says.
func (l *loop) tellGap(ch *channel) {
	rule := l.ruleOf(ch)
	switch {
	case rule == nil || rule.OnGap == rules.GapRejoin:
		l.rejoinSoon(ch)
	case rule.OnGap == rules.GapNotify && !ch.gapped:
		l.push(ch, &ChannelMessage{Event: "gap", Payload: emptyObject})
	}
}

// rejoinSoon has the client join anew, at some time within GapSpread, since all that are told come back to be authorized.
func (l *loop) rejoinSoon(ch *channel) {
	if ch.gapped {
		return
	}
	ch.gapped = true
	at := l.now + 1 + tick(rand.IntN(int(ticks(l.srv.cfg.GapSpread))))
	l.gaps[at] = append(l.gaps[at], ch)
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
				l.rejoinSoon(ch)
			}
		}
	}
}
