package gateway

import "sync/atomic"

// counter is a number that loops count up and the metrics read. One atomic add, no lock.
type counter struct{ n atomic.Int64 }

func (c *counter) add(n int) { c.n.Add(int64(n)) }

func (c *counter) load() int64 { return c.n.Load() }

// stats is everything one gateway counts. metrics.go gives each a name.
type stats struct {
	sockets            counter // open now
	channels           counter // joined now
	refusedConnections counter
	handshakesRefused  counter
	messagesIn         counter
	bytesIn            counter
	bytesOut           counter
	deliveries         counter
	gapRejoins         counter
	topicGaps          counter
	drained            counter  // sockets that were open when the drain began
	socketsEnded       labelled // by cause
	connects           labelled // by outcome
	joins              labelled // by outcome
	rechecks           labelled // by outcome
	events             labelled // by what the rule said
	decisions          labelled // of rules' deliver, by outcome
	rateLimited        labelled // by scope and kind
	dropped            labelled // by reason
	held               labelled // that had to wait for admission, by what they are
	turnedAway         labelled // handshakes, by what they lacked
	joinsTurnedAway    labelled // the same of joins
}

// labelled is a counter for each value of one label.
type labelled struct {
	names []string
	n     []counter
}

func newLabelled(names ...string) labelled {
	return labelled{names: names, n: make([]counter, len(names))}
}

func (c *labelled) add(i, n int) { c.n[i].add(n) }

// Outcomes of a connect.
const (
	connectAllowed = iota
	connectRefused
	connectUnavailable
)

// Outcomes of a join.
const (
	joinOK = iota
	joinRefused
	joinUnmatched
	joinUnavailable
)

// Outcomes of a recheck.
const (
	recheckAllowed    = iota
	recheckRefused    // the channel was closed
	recheckUnanswered // it is tried again
	recheckEnded      // the channel was told to rejoin, since it could not be asked about
)

// What became of a client's event; the first are the values of rules.Do.
const eventRefused = 0

// Reasons why something was dropped.
const (
	droppedStale        = iota // a push whose join_ref is not the channel's
	droppedOverloaded          // more than maxWaiting events of one channel
	droppedBinaryV1            // bytes for a client that speaks V1
	droppedBinaryField         // bytes whose frame cannot hold a field
	droppedNoChannel           // a message for a channel that is not here
	droppedBadReply            // a backend's answer that the client's serializer has no form for
	droppedAssigns             // assigns beyond 16 KiB
	droppedDrainTimeout        // events of a socket that ended, not handed over in 10 s
	droppedJoined              // phx.joined that could not be published
	droppedLeft                // phx.left that could not be published
	droppedTopicFull           // a broadcast of a topic that had too much waiting
	droppedDeliver             // a broadcast that a rule's deliver failed on, for members of equal inputs
	droppedSlow                // a broadcast, or several as one slice, that waited for a slow socket, by rule
	droppedConflated           // a broadcast that waited for a slow socket, and that a later one took the place of
)

// What waits for admission.
const (
	heldHandshakes = iota
	heldJoins
)

// Whose limit refused an event or a join.
const (
	limitedChannelEvent = iota
	limitedSocketEvent
	limitedUserEvent
	limitedSocketJoin
	limitedUserJoin
)

// What a rule's deliver decided.
const (
	decisionDelivered = iota
	decisionReplaced
	decisionWithheld
	decisionFailed
)

func newStats() *stats {
	return &stats{
		socketsEnded: newLabelled(causeNames[:]...),
		connects:     newLabelled("allowed", "refused", "unavailable"),
		joins:        newLabelled("ok", "refused", "unmatched", "unavailable"),
		events:       newLabelled("refused", "broadcast", "broadcast_from", "call", "cast", "presence_update", "reauthorize"),
		rechecks:     newLabelled("allowed", "refused", "unanswered", "ended"),
		dropped: newLabelled("stale_join_ref", "overloaded", "binary_to_v1", "binary_field", "no_channel", "bad_reply", "assigns_too_large",
			"drain_timeout", "joined_not_published", "left_not_published", "topic_full", "deliver_failed", "slow", "conflated"),
		rateLimited: newLabelled("channel,event", "socket,event", "user,event", "socket,join", "user,join"),
		held:        newLabelled("handshake", "join"),
		turnedAway:  newLabelled(lackNames[:]...), joinsTurnedAway: newLabelled(lackNames[:]...),
		decisions: newLabelled("delivered", "replaced", "withheld", "failed"),
	}
}
