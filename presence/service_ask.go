package presence

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/phxgate/phxgate/internal/planted"
)

// statesBytes is how many bytes of states go in one message; a quarter of what NATS takes, if that is less.
const statesBytes = 256 << 10

// Check compares a gateway's views with the topics, where they are this replica's.
func (s *Service) Check(partition int, body []byte) {
	var c Check
	if json.Unmarshal(body, &c) != nil || c.Gateway == "" {
		return
	}
	s.do(func() {
		if s.state == nil || partition < 0 || partition >= Partitions || !s.owned[partition] {
			return
		}
		s.check(&c)
	})
}

func (s *Service) check(c *Check) {
	limit := min(statesBytes, s.bus.MaxPayload()/4)
	var states []TopicState
	size := 0
	send := func() {
		if len(states) > 0 {
			s.bus.Tell(c.Gateway, mustJSON(ToGateway{States: states}))
			states, size = nil, 0
		}
	}
	add := func(st TopicState) {
		n := len(st.Presences) + len(st.Topic) + 120
		if size+n > limit {
			send()
		}
		states, size = append(states, st), size+n
	}
	for _, asked := range c.Topics {
		if !s.owns(asked.Topic) {
			continue
		}
		st := TopicState{Topic: asked.Topic, Epoch: s.state.Epoch()}
		t := s.state.Topic(asked.Topic)
		if t != nil {
			if !planted.Boundary {
				s.emit(t) // a state is taken at a boundary only
			}
			st.Hash = t.Hash()
		}
		st.Rev = s.state.Applied()
		if planted.Boundary && t != nil && t.Pending() {
			st.Rev = t.after
		}
		if asked.Rev != 0 && asked.Hash == st.Hash {
			s.stats.checksSame.Add(1)
			st.Same = true
			add(st)
			continue
		}
		s.stats.checksFull.Add(1)
		var p Presences
		if t != nil {
			p = t.Presences()
		}
		parts := p.Parts(limit - 1024)
		for i, part := range parts {
			st.Part, st.Parts, st.Presences = i, len(parts), part
			add(st)
		}
	}
	send()
}

// listRequest is the body of phx.presence.list.<T>; an empty one asks for all.
type listRequest struct {
	After *string `json:"after"`
	Limit int     `json:"limit"`
}

// List answers who is on a topic (contract, "Presence").
func (s *Service) List(topic string, body []byte, reply func([]byte)) {
	var r listRequest
	paged := false
	if len(body) > 0 {
		if err := json.Unmarshal(body, &r); err != nil || r.Limit < 0 {
			reply([]byte(`{"error":"bad request: want nothing, or {\"after\":\"key\",\"limit\":n}"}`))
			return
		}
		paged = r.After != nil || r.Limit > 0
	}
	s.do(func() {
		if s.state == nil {
			reply([]byte(`{"error":"unavailable"}`))
			return
		}
		var p Presences
		if t := s.state.Topic(topic); t != nil {
			p = t.Presences()
		}
		out := p.AppendJSON(nil)
		if paged {
			out = page(p, r)
		}
		if len(out) > s.bus.MaxPayload() {
			out = []byte(`{"error":"too large, ask for pages"}`)
		}
		reply(out)
	})
}

// defaultPage is how many keys a page holds that names no limit.
const defaultPage = 1000

func page(p Presences, r listRequest) []byte {
	keys := p.keys()
	if r.After != nil {
		i, found := slices.BinarySearch(keys, *r.After)
		if found {
			i++
		}
		keys = keys[i:]
	}
	limit := r.Limit
	if limit == 0 {
		limit = defaultPage
	}
	next := []byte("null")
	if len(keys) > limit {
		keys = keys[:limit]
		next = mustJSON(keys[limit-1])
	}
	out := append([]byte(`{"presences":`), p.appendKeys(nil, keys)...)
	out = append(out, `,"next":`...)
	return append(append(out, next...), '}')
}

// Update hands a backend's order to the gateway that holds the channel, and answers when the change is where lists see it.
func (s *Service) Update(topic string, body []byte, reply func([]byte)) {
	refuse := func(reason string) { reply(mustJSON(UpdateReply{Status: "error", Reason: reason})) }
	var u Update
	if err := json.Unmarshal(body, &u); err != nil || u.Channel == "" {
		refuse("bad request")
		return
	}
	u.Topic = topic
	gateway, rest, ok := strings.Cut(u.Channel, ".")
	if !ok || gateway == "" || strings.ContainsAny(u.Channel, " *>\t\r\n") || strings.Count(rest, ".") != 1 {
		refuse(ErrUnknownChannel.Error())
		return
	}
	s.bus.Ask(gateway, mustJSON(ToGateway{Update: &u}), updateTimeout, func(answer []byte, err error) {
		var r UpdateReply
		switch {
		case err == ErrNoResponders:
			refuse(ErrUnknownChannel.Error())
			return
		case err != nil || json.Unmarshal(answer, &r) != nil || r.Status == "":
			refuse(ErrUnavailable.Error())
			return
		}
		seq := r.Seq
		r.Seq = 0
		out := mustJSON(r)
		s.do(func() {
			s.waiting = append(s.waiting, waitingUpdate{seq: seq, deadline: s.now().Add(appliedTimeout), answer: func() { reply(out) }})
			s.answerApplied()
		})
	})
}

// answerApplied answers the backends whose changes the log has brought.
func (s *Service) answerApplied() {
	if len(s.waiting) == 0 {
		return
	}
	now := s.now()
	s.waiting = slices.DeleteFunc(s.waiting, func(w waitingUpdate) bool {
		if s.state != nil && s.state.Applied() < w.seq && now.Before(w.deadline) {
			return false
		}
		w.answer()
		return true
	})
}
