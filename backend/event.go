package backend

import "encoding/json"

// Event is what a client sent on a channel, or, for Joined and Left, that the channel began or ended. It is data: nothing of it needs a server, so a handler can be
// called with one that a test made. It must not be changed.
type Event struct {
	Topic    string
	Name     string // of the event; empty for Joined and Left
	Channel  string // id of the channel: for Push, Reply, CloseChannel, and From of a broadcast
	SocketID string // that connect gave the socket; empty for an anonymous one
	JoinRef  string // the client's; empty where it is nothing that a header carries
	Ref      string // the client's, for a late Reply; empty for Joined and Left too
	Payload  []byte // as the client sent it; the join's params for Joined
	Binary   bool   // Payload is bytes, not JSON
	Call     bool   // somebody waits for the reply; else it is a cast, and a reply is dropped

	Assigns json.RawMessage // of the channel, a JSON object
}

// Decode reads the payload into v. Its error is a Refuse with the reason "invalid payload": returned by a handler, it is what the client is told.
func (e *Event) Decode(v any) error {
	if e.Binary {
		return Refuse{Reason: "invalid payload", err: errBinary}
	}
	return decode(e.Payload, v, "invalid payload")
}

// DecodeAssigns reads the channel's assigns into v.
func (e *Event) DecodeAssigns(v any) error { return decodeAssigns(e.Assigns, v) }

// Reply answers a call. The zero value is Phoenix's {:reply, :ok, socket}.
type Reply struct {
	Status   string // StatusOK if empty; StatusNone for no reply
	Response any    // a JSON value; Binary for bytes; nil for {}

	// Assigns, a JSON object or nil, is merged into the channel's assigns before its next event. A cast can change none.
	Assigns any
	// Close ends the channel after the reply, as {:stop, :normal, reply, socket} does: the client gets phx_close and does not rejoin.
	Close bool
}

// Statuses of replies. A client may look for any other word, too.
const (
	StatusOK    = "ok"
	StatusError = "error"
	StatusNone  = "none" // no reply: there will be a late one, or none
)

// OK is the reply with status ok.
func OK(response any) Reply { return Reply{Response: response} }

// NoReply is Phoenix's {:noreply, socket}.
func NoReply() Reply { return Reply{Status: StatusNone} }

// Binary, as a response or payload, is sent as bytes and not as JSON. Clients of V1 and long poll cannot receive it.
type Binary []byte
