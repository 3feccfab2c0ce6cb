package rules

// Set is the rules of one file, in the file's order.
type Set struct {
	Rules []*Rule
}

// Match returns the first rule whose topic pattern matches, as Phoenix's `channel "room:*", …` does, or nil: an
// unmatched topic.
func (s *Set) Match(topic string) *Rule {
	for _, r := range s.Rules {
		if matches(r.Topic, topic) {
			return r
		}
	}
	return nil
}

// Rule is what holds for the topics that match its pattern.
type Rule struct {
	Topic  string // an exact topic, or a prefix that ends in *
	Join   Join
	If     *Condition   // JoinIf only
	Events []*EventRule // the first that matches holds
	OnGap  Gap
	Limits Limits
	// Presence: channels take part in their topic's presence; nil: those whose join reply says so.
	Presence *Presence
	Slow     Slow
	Deliver  *Deliver // which members get which broadcasts; nil: all get all
	Line     int      // of the file, from 1
}

// Presence is what a rule says about it.
type Presence struct {
	Key   *Source // beside JoinAllow and JoinIf: the key under which a channel is tracked; nil: it watches only, unless authz names a key
	Count bool    // members are told how many are there, and not who
}

// Event returns the first event rule whose pattern matches name, or nil: the event is rejected.
func (r *Rule) Event(name string) *EventRule {
	for _, e := range r.Events {
		if matches(e.Event, name) {
			return e
		}
	}
	return nil
}

// Join says who decides about a join. JoinIf has no word of its own: it is what else stands there.
type Join uint8

// The ways to join.
const (
	JoinAuthz Join = iota // the authz service is asked; the default
	JoinAllow             // everybody may
	JoinDeny              // nobody may: {"reason":"unauthorized"}
	JoinIf                // the rule's condition decides; who may not is refused as by JoinDeny
)

var joinWords = []string{JoinAuthz: "authz", JoinAllow: "allow", JoinDeny: "deny"}

// Gap says what a client is told when its gateway may have missed messages of the topic (docs/contract.md, "Gaps").
type Gap uint8

// The answers to a gap.
const (
	GapRejoin Gap = iota // the channel ends with phx_error, so that the client joins anew; the default
	GapNotify            // the event "gap" is pushed, and the channel stays
	GapIgnore            // nothing
)

var gapWords = []string{GapRejoin: "rejoin", GapNotify: "notify", GapIgnore: "ignore"}

// Slow says what becomes of a topic's broadcasts where a socket does not read fast enough and OUTBOUND_BYTES wait for it.
type Slow struct {
	Policy SlowPolicy
	By     string // SlowConflate only: the key of the payload whose value tells broadcasts of one event apart; "": nothing does
}

// SlowPolicy is one of three.
type SlowPolicy uint8

// The policies.
const (
	SlowClose      SlowPolicy = iota // the socket is aborted; the default
	SlowDropOldest                   // what waits for the longest is dropped, and the client told as OnGap says
	SlowConflate                     // a broadcast takes the place of an older one of the same event that still waits; beyond that as SlowDropOldest
)

var slowWords = []string{SlowClose: "close", SlowDropOldest: "drop_oldest", SlowConflate: "conflate"}

// Limits bound what one channel of one socket may send. Zero means not limited.
type Limits struct {
	EventsPerSecond float64
	Burst           int // events at once; at least 1 where EventsPerSecond is set
	PayloadBytes    int // of one event's payload
}
