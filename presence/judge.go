package presence

import "time"

// When a gateway is given up (docs/presence.md, "Deaths").
const (
	pingEvery      = 500 * time.Millisecond
	pingTimeout    = 2 * time.Second         // an answer that comes later says nothing
	silentAfter    = 2 * time.Second         // of pings that nobody listens to, at least silentPings of them
	silentPings    = 3                       // NATS knows at once when a process is gone; a gateway that connects anew is back sooner
	hungAfter      = 3400 * time.Millisecond // without any answer; with the last ping it is noticed within four seconds
	massHungAfter  = 15 * time.Second        // where more than half of two or more are hung: it is rather the network, or we
	judgeLateAfter = time.Second             // of a tick of the judge's own: it was frozen, and has heard nobody
	verdictTimeout = 500 * time.Millisecond  // for what a verdict asks before it holds
)

// cause says why a gateway was given up.
type cause string

const (
	causeRestarted cause = "restarted" // its private subject is answered by another incarnation
	causeSilent    cause = "silent"    // nobody listens to its private subject
	causeHung      cause = "hung"      // it does not answer
	causeDrained   cause = "drained"   // it went away in order, and its linger is over
)

// judge decides which gateways are dead, from what became of the pings. It has no clock of its own.
type judge struct {
	suspects map[string]*suspect // by incarnation, all that are registered
}

// suspect is a registered incarnation under watch.
type suspect struct {
	heard    time.Time // when it answered, or the watch began
	silent   time.Time // since when nobody listens; zero: somebody may
	pings    int       // nobody has listened to, one after the other
	replaced bool      // its gateway has another incarnation
}

func newJudge() *judge { return &judge{suspects: map[string]*suspect{}} }

// watch makes the registered incarnations those that are watched. New ones have the whole time before them.
func (j *judge) watch(registered map[string]Registration, now time.Time) {
	for in := range registered {
		if j.suspects[in] == nil {
			j.suspects[in] = &suspect{heard: now}
		}
	}
	for in := range j.suspects {
		if _, ok := registered[in]; !ok {
			delete(j.suspects, in)
		}
	}
}

// reset begins anew: what was not heard may have been this side's fault.
func (j *judge) reset() { clear(j.suspects) }

// answered notes that the gateway of an incarnation answered a ping, and which incarnation it has now.
func (j *judge) answered(in, current string, now time.Time) {
	s := j.suspects[in]
	if s == nil {
		return
	}
	if current != in {
		s.replaced = true
		return
	}
	*s = suspect{heard: now}
}

// nobody notes that nobody listened to a ping.
func (j *judge) nobody(in string, now time.Time) {
	s := j.suspects[in]
	if s == nil {
		return
	}
	if s.pings == 0 {
		s.silent = now
	}
	s.pings++
}

// unanswered notes that somebody listens and did not answer in time.
func (j *judge) unanswered(in string) {
	if s := j.suspects[in]; s != nil {
		s.pings = 0
	}
}

// verdicts is who of the watched is dead now, and why.
func (j *judge) verdicts(registered map[string]Registration, now time.Time) map[string]cause {
	patience := j.patience(now)
	dead := map[string]cause{}
	for in, s := range j.suspects {
		if why := s.verdict(registered[in], now, patience); why != "" {
			dead[in] = why
		}
	}
	return dead
}

// verdict is why a gateway is dead; "": it is not.
func (s *suspect) verdict(reg Registration, now time.Time, patience time.Duration) cause {
	unheard := now.Sub(s.heard)
	quiet := s.pings >= silentPings && now.Sub(s.silent) >= silentAfter
	hung := s.hung(now, patience)
	switch {
	case reg.Draining: // it ends by itself; what it left stays until its users had their time
		if (quiet || s.replaced || hung) && unheard >= max(silentAfter, time.Duration(reg.Linger)*time.Millisecond) {
			return causeDrained
		}
	case s.replaced:
		return causeRestarted
	case quiet:
		return causeSilent
	case hung:
		return causeHung
	}
	return ""
}

// hung reports whether somebody listens to the pings, and nobody has answered for a time.
func (s *suspect) hung(now time.Time, patience time.Duration) bool {
	return s.pings == 0 && now.Sub(s.heard) >= patience
}

// patience is for how long a gateway may be hung now. Of one alone nothing is known about others.
func (j *judge) patience(now time.Time) time.Duration {
	hung := 0
	for _, s := range j.suspects {
		if s.hung(now, hungAfter) {
			hung++
		}
	}
	if len(j.suspects) > 1 && 2*hung > len(j.suspects) {
		return massHungAfter
	}
	return hungAfter
}
