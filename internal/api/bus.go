package api

import (
	"context"
	"errors"
	"fmt"
)

// Bus is what the door leads to. Its methods wait until NATS has what they publish, or has answered, and at most until ctx ends; they may be called from any goroutine.
// They check what they are given by the rules of docs/contract.md before anything is sent: an *Invalid means that nothing was. Their other errors are ErrUnavailable,
// ErrNoAnswer and *Denied.
type Bus interface {
	// Broadcast publishes messages on their topics, in their order.
	Broadcast(ctx context.Context, messages []Message, trace Trace) error
	// Disconnect orders the end of all sockets of an id.
	Disconnect(ctx context.Context, socketID string, trace Trace) error
	// Presences asks the presence service who is on a topic, with the body of such a request or with nil, and returns its answer: a JSON object.
	// It may also return ErrNoPresence, ErrBadAnswer, or ErrTooLarge for a list that wants to be asked for in pages.
	Presences(ctx context.Context, topic string, request []byte, trace Trace) ([]byte, error)
}

// Message is one broadcast.
type Message struct {
	Topic   string
	Event   string
	Payload []byte // JSON, as it came, or any bytes
	Binary  bool
	From    string // id of the channel that must not receive it, or ""
}

// Trace is a W3C trace context as its headers have it; empty strings for none.
type Trace struct {
	Parent string // traceparent
	State  string // tracestate
}

// Errors of a [Bus].
var (
	// ErrUnavailable: there is no connection to NATS now, and nothing was published.
	ErrUnavailable = errors.New("no connection to NATS: nothing was published")
	// ErrNoAnswer: the connection was lost, or ctx ended, before NATS had confirmed, or before the presence service had answered. What was to be published may have been, or a part of it.
	ErrNoAnswer = errors.New("no answer in time: what was to be published may have been, or a part of it")
	// ErrNoPresence: there is no presence service, or it is not ready.
	ErrNoPresence = errors.New("no presence service is there")
	// ErrBadAnswer: the presence service's answer makes no sense.
	ErrBadAnswer = errors.New("the presence service's answer makes no sense")
	// ErrTooLarge: the list does not fit into one message of NATS.
	ErrTooLarge = errors.New("too large, ask for pages")
)

// Invalid is what is wrong with a message, id or topic.
type Invalid struct {
	Index    int    // of the message
	Field    string // as the request names it
	Reason   string
	TooLarge bool // for NATS, and not wrong otherwise
}

func (e *Invalid) Error() string { return fmt.Sprintf("%d: %s: %s", e.Index, e.Field, e.Reason) }

// Denied means that NATS does not permit this program to publish on a subject. Of several messages, others may have been published.
type Denied struct{ Subject string }

func (e *Denied) Error() string {
	return "NATS does not permit this gateway to publish on " + e.Subject + "; see docs/nats.md for its permissions"
}
