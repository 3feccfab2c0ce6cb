package presence

import (
	"errors"
	"time"
)

// Errors of a [ServiceBus].
var (
	ErrNoResponders = errors.New("nobody listens")
	ErrTimeout      = errors.New("no answer in time")
)

// ServiceBus is what a replica of the service needs of NATS. Its methods never block; what one goroutine publishes goes out in that order. Functions that are handed over are called
// once, on any goroutine.
type ServiceBus interface {
	// Emit publishes the broadcast presence_diff on a topic; false: it is more than NATS takes in one message.
	Emit(topic string, payload []byte, stamp Stamp) bool
	// Tell publishes a ToGateway; Ask requests, and hands over the answer, ErrNoResponders or ErrTimeout.
	Tell(gateway string, message []byte)
	Ask(gateway string, message []byte, timeout time.Duration, answered func([]byte, error))
	// Sync and Beat publish to all gateways and to all replicas.
	Sync(message []byte)
	Beat(message []byte)
	// Reach makes a round trip to the leader of the bucket's stream.
	Reach(timeout time.Duration, reached func(error))
	// Remove removes a key of the bucket, if its last record is still of that Seq; with Op OpLost, a registration for its gateway's death.
	Remove(r *Record, timeout time.Duration, removed func(error))
	// Purge removes all entries of an incarnation from the bucket, without records.
	Purge(incarnation string)
	// GatewayLost and Left tell backends of a gateway's death and of the channels that it took along.
	GatewayLost(gateway string)
	Left(c *LostChannel)
	// MaxPayload is how many bytes NATS takes in one message.
	MaxPayload() int
}

// LogInbox is what a replica is told of the bucket, by one goroutine and in the order of the log. *Service implements it.
type LogInbox interface {
	// Loaded begins with all that the bucket holds at a point of the log. It comes again where the stream was made anew.
	Loaded(epoch uint64, records []Record, applied uint64)
	// Record is the next record; Skipped, that a message which is none had that sequence.
	Record(r *Record)
	Skipped(seq uint64)
	// Unloaded: the bucket cannot be followed now; Loaded comes when it can.
	Unloaded()
	// Reconnected: the connection to NATS was away. Nothing of the log is missing when the next record comes.
	Reconnected()
}
