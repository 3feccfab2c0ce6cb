package nemesis

import "time"

// channelState is phoenix.js's (channel.js): errored ones are joined again after a while, joining ones that get no answer too.
type channelState int

const (
	errored channelState = iota
	joining
	joined
	leaving
)

// channel is one topic that a client wants, or is about to be rid of. It belongs to its client's lock.
type channel struct {
	topic   int
	state   channelState
	joinRef string
	due     time.Time // errored: when to join; joining: when to give the join up
	tries   int       // joins that failed in a row
	retired bool      // a fresh topic of a round before: to be left

	member *membership // since the last join that succeeded
	stream *stream     // what the client publishes; nil until it does
}

// rejoinAfter is phoenix.js's list, which a page may set (rejoinAfterMs), without its longest waits: recovery is measured against the gateways, not against a
// client that waits 10 s.
var rejoinAfter = [...]time.Duration{time.Second, 2 * time.Second}

// reconnectAfter is phoenix.js's list (reconnectAfterMs) up to a second, for the same reason.
var reconnectAfter = [...]time.Duration{
	10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second,
}

// joinTimeout is phoenix.js's for every push.
const joinTimeout = 10 * time.Second

// young reports whether the channel waits for the first answer to a first join, and not for long: there always are some.
func (ch *channel) young() bool {
	return ch.topic >= freshTopic && ch.state == joining && ch.tries == 0 && time.Until(ch.due) > joinTimeout-500*time.Millisecond
}

// fail has the channel join again after its backoff.
func (ch *channel) fail() {
	ch.state = errored
	ch.due = time.Now().Add(rejoinAfter[min(ch.tries, len(rejoinAfter)-1)])
	ch.tries++
}

// lose ends the membership, if there is one: the client was told, or went by itself.
func (ch *channel) lose(e ending) {
	if ch.member != nil {
		ch.member.end(e)
		ch.member = nil
	}
	ch.stream = nil
}
