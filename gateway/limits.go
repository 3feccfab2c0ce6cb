package gateway

import (
	"fmt"
	"time"

	"github.com/phxgate/phxgate/gateway/rules"
)

// Limit is how often something may happen: PerSecond in the long run, Burst at once. The zero value is no limit.
type Limit struct {
	PerSecond float64
	Burst     int
}

// Limits are how often one socket, or one user, may send events and join.
type Limits struct{ Events, Joins Limit }

// validate names what is wrong; name is the field's.
func (m Limit) validate(name string) error {
	if m != (Limit{}) && !(m.PerSecond > 0 && m.Burst >= 1) { // NaN is wrong, too
		return fmt.Errorf("%s %+v: want more than 0 a second and a burst of at least 1, or neither", name, m)
	}
	return nil
}

// limiter is a full bucket, nil where there is no limit.
func (m Limit) limiter() *limiter {
	if m.PerSecond <= 0 {
		return nil
	}
	return &limiter{rate: m.PerSecond, burst: float64(m.Burst), tokens: float64(m.Burst)}
}

// budget is what a socket or a user has left of its limits; nil: there is no limit.
type budget struct{ events, joins *limiter }

func newBudget(l Limits) budget { return budget{events: l.Events.limiter(), joins: l.Joins.limiter()} }

// full reports whether the budget is what a new one would be.
func (b *budget) full(now time.Duration) bool { return isFull(b.events, now) && isFull(b.joins, now) }

func isFull(b *limiter, now time.Duration) bool { return b == nil || b.full(now) }

// take takes one out of a limiter; false if there is none.
func take(b *limiter, now time.Duration) bool { return b == nil || b.allow(now) }

// socketBudget is what a socket holds once it has sent or joined, where there are limits.
type socketBudget struct {
	budget
	user *user // nil for an anonymous socket, and without limits of users
}

// budgetOf is the socket's budget, made with its first use; nil if there are no limits.
func (l *loop) budgetOf(s *socket) *socketBudget {
	cfg := &l.srv.cfg
	if s.budget == nil && (cfg.SocketLimits != Limits{} || cfg.UserLimits != Limits{}) {
		s.budget = &socketBudget{budget: newBudget(cfg.SocketLimits), user: l.srv.users.hold(s.id)}
	}
	return s.budget
}

// dropBudget lets the budget of a socket that ends go, or of one that is quiet.
func (l *loop) dropBudget(s *socket) {
	if s.budget != nil {
		l.srv.users.release(s.budget.user, l.srv.clock())
		s.budget = nil
	}
}

// quietTicks is after how long without a word from its client a socket lets go of budgets that are full: less than the 30 s between two heartbeats of phoenix.js.
const quietTicks = tick(10 * time.Second / tickLength)

// quiet lets go of what a new budget would be the same as. The loop calls it once after each of the client's words, quietTicks later, so that an idle socket holds none.
func (l *loop) quiet(s *socket) {
	now := l.srv.clock()
	if s.budget != nil && s.budget.full(now) {
		l.dropBudget(s)
	}
	for _, ch := range s.channels {
		if m := ch.more; m != nil && m.limiter != nil && isFull(m.limiter, now) {
			m.limiter = nil
			if ch.state == joined {
				ch.trim()
			}
		}
	}
}

// allowEvent reports whether a client may send an event now. The narrowest limit comes first: what it refuses costs the wider ones nothing.
func (l *loop) allowEvent(ch *channel, rule *rules.Rule) bool {
	b, limited := l.budgetOf(ch.socket), rule != nil && rule.Limits.EventsPerSecond > 0
	if b == nil && !limited {
		return true
	}
	now := l.srv.clock()
	if limited {
		m := ch.extra()
		if m.limiter == nil {
			m.limiter = Limit{rule.Limits.EventsPerSecond, rule.Limits.Burst}.limiter()
		}
		if !take(m.limiter, now) {
			return l.limited(limitedChannelEvent)
		}
	}
	switch {
	case b == nil:
		return true
	case !take(b.events, now):
		return l.limited(limitedSocketEvent)
	case !b.user.takeEvent(now):
		return l.limited(limitedUserEvent)
	}
	return true
}

// allowJoin reports whether a client may join now. It is asked when nothing is left that refuses the join for free: what costs, a rule's condition and the authorizer, counts.
func (l *loop) allowJoin(s *socket) bool {
	b := l.budgetOf(s)
	if b == nil {
		return true
	}
	now := l.srv.clock()
	switch {
	case !take(b.joins, now):
		return l.limited(limitedSocketJoin)
	case !b.user.takeJoin(now):
		return l.limited(limitedUserJoin)
	}
	return true
}

// limited counts what a limit refuses.
func (l *loop) limited(by int) bool {
	l.stats.rateLimited.add(by, 1)
	return false
}
