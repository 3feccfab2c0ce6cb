package presence

import (
	"encoding/json"
	"maps"
	"time"
)

// judging is the part of a replica that owns partition 0 and so watches the gateways.
type judging struct {
	judge    *judge
	lastSit  time.Time
	verdicts map[string]bool      // incarnations whose verdict is being carried out
	unknown  map[string]time.Time // incarnations that greet and are not registered, and since when
}

func (j *judging) init() {
	j.judge, j.verdicts, j.unknown = newJudge(), map[string]bool{}, map[string]time.Time{}
}

// forget drops what was heard and not heard.
func (j *judging) forget() {
	j.judge.reset()
	clear(j.unknown)
	j.lastSit = time.Time{}
}

// sit looks at what the pings brought, and sends new ones.
func (s *Service) sit() {
	if s.state == nil || !s.owned[0] {
		return
	}
	now, j := s.now(), &s.judge
	if !j.lastSit.IsZero() && now.Sub(j.lastSit) > pingEvery+judgeLateAfter {
		s.log.Warn("the judge was held up and begins anew", "for", now.Sub(j.lastSit))
		j.forget()
	}
	j.lastSit = now
	registered := maps.Collect(s.state.Incarnations())
	j.judge.watch(registered, now)
	for in, why := range j.judge.verdicts(registered, now) {
		if !j.verdicts[in] {
			j.verdicts[in] = true
			s.confirm(in, why)
		}
	}
	for in := range registered {
		s.ping(in)
	}
}

// ping asks a gateway whether it is alive.
func (s *Service) ping(in string) {
	s.bus.Ask(gatewayOf(in), mustJSON(ToGateway{Ping: in}), pingTimeout, func(body []byte, err error) {
		s.do(func() { s.pinged(in, body, err) })
	})
}

// pinged takes a ping's answer and says whether the incarnation is alive.
func (s *Service) pinged(in string, body []byte, err error) (alive bool) {
	var pong Pong
	switch {
	case err == ErrNoResponders:
		s.judge.judge.nobody(in, s.now())
	case err != nil:
		s.judge.judge.unanswered(in)
	case json.Unmarshal(body, &pong) == nil && pong.Incarnation != "":
		s.judge.judge.answered(in, pong.Incarnation, s.now())
		return pong.Incarnation == in
	}
	return false
}

// confirm carries a verdict out if the stream can be reached, the gateway does not answer when it is asked once more, and the verdict still holds then: what was not heard may be
// this side's fault, and a connection that came back meanwhile has begun everything anew.
func (s *Service) confirm(in string, why cause) {
	end := func() { delete(s.judge.verdicts, in) }
	s.bus.Reach(verdictTimeout, func(err error) {
		s.do(func() {
			if err != nil {
				s.log.Warn("a gateway seems dead, and the bucket cannot be reached either", "incarnation", in, "err", err)
				end()
				return
			}
			s.bus.Ask(gatewayOf(in), mustJSON(ToGateway{Ping: in}), verdictTimeout, func(body []byte, err error) {
				s.do(func() {
					if s.state == nil || !s.owned[0] || s.pinged(in, body, err) || !s.condemned(in) {
						end()
						return
					}
					s.giveUp(in, why, end)
				})
			})
		})
	})
}

// condemned reports whether an incarnation is dead by all that is known now.
func (s *Service) condemned(in string) bool {
	_, dead := s.judge.judge.verdicts(maps.Collect(s.state.Incarnations()), s.now())[in]
	return dead
}

// giveUp ends an incarnation. Of several replicas that try only one succeeds.
func (s *Service) giveUp(in string, why cause, end func()) {
	seq, ok := s.state.RegisteredAt(in)
	if !ok {
		end()
		return
	}
	op := OpLost
	if why == causeDrained {
		op = OpGone
	}
	s.bus.Remove(&Record{Seq: seq, Incarnation: in, Op: op}, updateTimeout, func(err error) {
		s.do(func() {
			defer end()
			if err != nil {
				s.log.Warn("gateway not given up", "incarnation", in, "cause", string(why), "err", err)
				return
			}
			s.log.Info("gateway given up", "incarnation", in, "cause", string(why))
			s.stats.lost(why)
			if op == OpLost {
				s.bus.GatewayLost(gatewayOf(in))
			}
			s.bus.Purge(in)
		})
	})
}

// Hello takes the greeting of a gateway that nobody pings. One whose incarnation is not registered begins anew: it was given up, or the bucket is another.
func (s *Service) Hello(body []byte) {
	var h Hello
	if json.Unmarshal(body, &h) != nil || h.Gateway == "" || h.Incarnation == "" {
		return
	}
	s.do(func() {
		if s.state == nil || !s.owned[0] {
			return
		}
		unknown := s.judge.unknown
		if s.state.Registered(h.Incarnation) {
			delete(unknown, h.Incarnation)
			return
		}
		now := s.now()
		since, ok := unknown[h.Incarnation]
		switch {
		case !ok:
			unknown[h.Incarnation] = now
		case now.Sub(since) >= unknownAfter: // the log may have been behind
			delete(unknown, h.Incarnation)
			s.log.Warn("a gateway is not registered and begins anew", "incarnation", h.Incarnation)
			s.bus.Tell(h.Gateway, mustJSON(ToGateway{Reset: h.Incarnation}))
		}
		if len(unknown) > 10_000 {
			clear(unknown) // greetings that nobody can have meant
		}
	})
}
