package backend

import (
	"encoding/json"
	"errors"
	"fmt"
)

// What is wrong with an argument. Nothing was published.
var (
	ErrInvalidTopic   = errors.New("invalid topic")      // not 1 to 255 bytes of UTF-8 in at most 16 parts
	ErrInvalidEvent   = errors.New("invalid event")      // not 1 to 255 bytes of UTF-8, or begins with phx_
	ErrInvalidPayload = errors.New("invalid payload")    // no JSON, or no JSON object where one is needed
	ErrInvalidChannel = errors.New("invalid channel id") // none that a gateway gave out
	ErrInvalidSocket  = errors.New("invalid socket id")  // not 1 to 255 bytes of UTF-8
	ErrInvalidRef     = errors.New("invalid ref")        // the client's push had none that can be answered late
)

// ErrNoService is for a request that nobody serves: there is no presence service.
var ErrNoService = errors.New("no service")

// ErrServed is for a second Serve.
var ErrServed = errors.New("backend: served already")

// PresenceError is the presence service's refusal. Its reasons are in docs/contract.md, "Presence": "not tracked", "already tracked", "invalid presence key",
// "invalid meta", "unknown channel".
type PresenceError struct{ Reason string }

func (e *PresenceError) Error() string { return "presence: " + e.Reason }

// Refuse is the error of a handler that refuses what a client asks, be it a connect, a join or an event. The client is told; the channel lives. Any other error of
// a handler is the backend's own trouble, and ends the channel (see the package's comment).
type Refuse struct {
	Reason   string // the client gets {"reason": Reason}; the refusal of a connect is for the log alone
	Response any    // where it is not nil, what the client gets instead
	Status   string // of the reply to an event; StatusError if empty

	err error // the cause, for the log
}

func (r Refuse) Error() string {
	if r.err != nil {
		return fmt.Sprintf("refused: %s: %v", r.Reason, r.err)
	}
	return "refused: " + r.Reason
}

// Unwrap returns the cause.
func (r Refuse) Unwrap() error { return r.err }

// response is what the client gets.
func (r Refuse) response() any {
	if r.Response != nil {
		return r.Response
	}
	return map[string]string{"reason": r.Reason}
}

var errBinary = errors.New("bytes where JSON is wanted")

// decode reads what a client chose, so that an error is the client's.
func decode(data []byte, v any, reason string) error {
	if len(data) == 0 {
		data = []byte("{}")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return Refuse{Reason: reason, err: err}
	}
	return nil
}

// decodeAssigns reads what authz and backends chose, so that an error is theirs.
func decodeAssigns(data []byte, v any) error {
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("assigns: %w", err)
	}
	return nil
}
