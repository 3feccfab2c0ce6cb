package gateway

import (
	"errors"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Reasons that a client reads in a reply of status error (contract, "Events from clients" and "Authorization"; Phoenix 1.8 socket.ex for the first three).
const (
	reasonUnmatchedTopic   = "unmatched topic"
	reasonTooManyChannels  = "too many channels joined"
	reasonInvalidTopic     = "invalid topic"
	reasonUnmatchedEvent   = "unmatched event"
	reasonUnauthorized     = "unauthorized"
	reasonInvalidEvent     = "invalid event"
	reasonInvalidPayload   = "invalid payload"
	reasonPayloadTooLarge  = "payload too large"
	reasonRateLimited      = "rate limited"
	reasonOverloaded       = "overloaded"
	reasonUnavailable      = "unavailable"
	reasonNoBackend        = "no backend"
	reasonTimeout          = "timeout"
	reasonBadReply         = "bad reply"
	reasonNotTracked       = "not tracked"
	reasonAuthzUnavailable = "authorization unavailable"
)

// reasonOf says what a client is told for an error of the bus.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrTooLarge):
		return reasonPayloadTooLarge
	case errors.Is(err, ErrNoBackend):
		return reasonNoBackend
	case errors.Is(err, ErrTimeout):
		return reasonTimeout
	default:
		return reasonUnavailable
	}
}

// Reasons of phx.left: how a channel ended.
const (
	leftLeft         = "left"
	leftRejoined     = "rejoined"
	leftClosed       = "closed"
	leftCrashed      = "crashed"
	leftDisconnected = "disconnected"
	leftKicked       = "kicked"
	leftExpired      = "expired"
	leftDrained      = "drained"
	leftGap          = "gap"
)

// Reasons of phx.dropped that only the gateway knows.
const (
	toldNoChannel   = "no such channel"
	toldAssigns     = "assigns are larger than 16 KiB"
	toldBinaryV1    = "binary for a V1 client"
	toldBinaryField = "binary with a ref or status of more than 255 bytes"
	toldTopicFull   = "topic full"
)

// Fixed JSON bodies of replies and notices.
var (
	emptyObject  = []byte(`{}`)
	channelCrash = []byte(`{"reason":"channel_crash"}`)
)

// errorBody is {"reason":…} with an error's text.
func errorBody(err error) []byte {
	return append(phx.AppendQuote([]byte(`{"reason":`), err.Error()), '}')
}

// reasonBody is {"reason":r}; r is one of the constants above, which need no escapes.
func reasonBody(r string) []byte { return []byte(`{"reason":"` + r + `"}`) }
