package gateway

import (
	"errors"
	"time"
)

// Errors that a [Bus] or an [Authorizer] reports; what a client is told for each stands in reasons.go.
var (
	// ErrUnavailable: there is no connection to the bus now.
	ErrUnavailable = errors.New("no connection to NATS")
	// ErrTooLarge: the message with its headers is more than the bus takes in one piece.
	ErrTooLarge = errors.New("message is larger than NATS takes")
	// ErrNoBackend: nobody listens on the subject that was asked.
	ErrNoBackend = errors.New("no responder")
	// ErrTimeout: nobody answered in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrBadAnswer: the answer makes no sense.
	ErrBadAnswer = errors.New("answer makes no sense")
)

// Bus is how events leave a gateway. Its methods never block and may be called from any goroutine; what one goroutine hands over is
// published in that order. An error means that nothing was published: ErrUnavailable or ErrTooLarge.
//
// Functions given to a Bus are called exactly once, on a goroutine of the bus, and must not block for long.
type Bus interface {
	// Available reports whether there is a connection now.
	Available() bool
	// Subscribe starts the flow of a topic's broadcasts to the [Inbox]; done is called when the subscription is in force wherever broadcasts are published, or with
	// the reason why it could not be confirmed. Of a topic that is subscribed already, it confirms that it still is.
	Subscribe(topic string, done func(error))
	// Unsubscribe ends it.
	Unsubscribe(topic string)
	// Broadcast publishes a client's event on its topic.
	Broadcast(e *Event) error
	// Cast publishes a client's event for a backend that does not answer.
	Cast(e *Event) error
	// Call asks a backend and hands its answer to done: *Answer, or ErrNoBackend, ErrTimeout or ErrUnavailable. Answers come in the order
	// in which they arrived among broadcasts and channel messages.
	Call(e *Event, timeout time.Duration, done func(*Answer, error)) error
	// Joined and Left tell backends about a channel's beginning and end.
	Joined(e *Event) error
	Left(e *Event, reason string) error
	// Dropped tells whoever debugs a backend that what it sent was dropped by the gateway, which has counted it. It may not tell all.
	Dropped(d Dropped)
}

// Authorizer decides connects and joins. It never blocks; the answer comes through done, exactly once, on any goroutine. An error means that there is no
// decision (ErrUnavailable, ErrNoBackend, ErrTimeout, ErrBadAnswer, ErrTooLarge): the caller refuses.
type Authorizer interface {
	AuthorizeConnect(r *ConnectRequest, done func(*ConnectDecision, error))
	// AuthorizeJoins decides what came together, each join by itself: it may ask about all at once. The slice is valid during the call only.
	AuthorizeJoins(asks []JoinAsk)
}

// Presence keeps who is on which topic, and tells channels by [Server.PushPresence] and [Server.BroadcastPresence]. Its methods never block, but for Drain, and may be called from
// any goroutine; for one channel they take effect in the order of the calls.
type Presence interface {
	// CheckKey and CleanMeta return the error whose text a client is told. A clean meta is a JSON object without what only servers write; nil becomes an empty one.
	CheckKey(key string) error
	CleanMeta(meta []byte) ([]byte, error)
	// Join begins a channel's part, after its join reply was sent: it sees who is there, or with counted how many; with tracked it is seen, under a key and with a meta that were checked.
	Join(channel, topic, socketID string, counted, tracked bool, key string, meta, assigns []byte)
	// Update merges those members of changes, a JSON object that is valid during the call only, that fields names into the channel's meta. done is called once, on any goroutine, with
	// nil if that was accepted; the error's text is for the client, whose next event waits for it.
	Update(channel string, fields []string, changes []byte, done func(error))
	// Leave ends a channel's part. lingers: it ended for no fault of its user, who may be back. A second Leave, without, says that he will not be.
	Leave(channel string, lingers bool)
	// Drain is called before the first socket of a draining gateway is closed. It may wait for limit, at most half a second.
	Drain(limit time.Duration)
}

// Fleet is how gateways hear of each other.
type Fleet interface {
	// Announce tells the others how this gateway is; they are given it by [Inbox].Announced. It never blocks. An error means that nothing was published.
	Announce(s *Status) error
}

// Inbox takes what the bus brings. One goroutine calls it, in the order of arrival; a call may wait while a loop's mailbox is full, which is how load
// is pushed back to the bus. The slices of a message belong to the inbox from then on.
type Inbox interface {
	// Broadcast hands over a checked broadcast of a topic.
	Broadcast(b *Broadcast)
	// Channel hands over a message for one channel.
	Channel(m *ChannelMessage)
	// Socket hands over an order for every socket of an id.
	Socket(m *SocketMessage)
	// RecheckTopic and RecheckSocket order that the channels of a topic, or of the sockets of an id, be authorized anew.
	RecheckTopic(topic string)
	RecheckSocket(id string)
	// Gap says that messages of these topics may have been missed, with nil: of any topic. What was confirmed of their subscriptions before holds no more.
	// It may be called on another goroutine than the rest, at most about once a second.
	Gap(topics []string)
	// Refused says that the bus brings these topics no more, although their subscriptions were in force: the permission is gone. It is called as Gap is.
	Refused(topics []string)
	// GapOf says that messages of a topic were dropped, all of them after those that Broadcast has been given, since more of that topic waited than may. It is called in order with
	// the rest.
	GapOf(topic string)
	// Full reports whether a topic has so much waiting that a broadcast would be dropped now. Whoever drops it instead need not call GapOf: the members will be told of a gap.
	Full(topic string) bool
	// Announced hands over what a gateway of the fleet says of itself, this one's own words included.
	Announced(s *Status)
}

// Event is a client's event on its way to the bus, with what the bus side needs to know of its channel.
type Event struct {
	Topic    string
	Name     string // event name, at most 255 bytes; unused by Joined and Left
	Payload  []byte // as the client sent it (join params for Joined)
	Binary   bool
	Channel  string // channel id
	SocketID string // "" for an anonymous socket
	From     string // channel id that must not receive the broadcast, or ""
	JoinRef  string // where the client's refs are strings of 1-64 printable ASCII characters; else ""
	Ref      string
	Assigns  []byte // JSON object in ASCII, or nil
	Trace    Trace  // unused by Broadcast
}

// Answer is a backend's answer to a call, or a late reply on the channel's subject.
type Answer struct {
	Status  string // "" means ok
	Payload []byte // as it came
	Binary  bool
	Assigns []byte // to be merged into the channel's; nil for none
	Action  Action
	Error   string // text of a micro service's error, "" for none
	Bad     bool   // the headers make no sense: the client is told "bad reply"
}

// Dropped is what a backend sent that came to nothing: a message for a channel (Channel is set), broadcasts of a topic, or an answer to a call.
type Dropped struct {
	Channel    string
	Topic      string
	Event      string // of the call
	Broadcasts bool
	Reason     string // one of a few
}

// StatusNone as a status means that the client is not answered now.
const StatusNone = "none"

// Action is what a backend orders beside or instead of a message.
type Action uint8

// The actions of the header Phx-Action.
const (
	ActionNone Action = iota
	ActionClose
	ActionCrash
	ActionDisconnect
	ActionLeave
)

// Broadcast is one message for all members of a topic. Event is at most 255 bytes, Payload a checked JSON object or, with Binary, any bytes.
type Broadcast struct {
	Topic   string
	Event   string
	Payload []byte
	Binary  bool
	From    string // channel id that must not receive it, or ""
}

// ChannelMessage is a push to one channel (Event set), a late reply (Ref and Answer set), or an action.
type ChannelMessage struct {
	Channel string // channel id
	Event   string
	Payload []byte
	Binary  bool
	Ref     string  // of the push that is answered late
	Late    *Answer // the late reply
	Action  Action  // ActionClose, ActionCrash or ActionNone
}

// SocketMessage is an order for the sockets of an id: ActionDisconnect, or ActionLeave with a topic.
type SocketMessage struct {
	ID     string
	Action Action
	Topic  string
}

// ConnectRequest is what an authorizer is told of a connect.
type ConnectRequest struct {
	Transport string            // "websocket"
	Vsn       string            // as the client named it, "1.0.0" if it named none
	Params    []byte            // JSON object: the query's parameters without vsn
	AuthToken string            // with HasToken
	HasToken  bool              //
	Claims    []byte            // of the token, where it was verified before: a JSON object; else nil
	Peer      string            // address without port
	Headers   map[string]string // the configured request headers, lower-case names
	Trace     Trace
}

// ConnectDecision is its answer.
type ConnectDecision struct {
	Allow     bool
	Reason    string // for the log
	ID        string // socket id, "" for anonymous
	Assigns   []byte // JSON object in ASCII, or nil
	ExpiresAt time.Time
}

// JoinRequest is what an authorizer is told of a join.
type JoinRequest struct {
	Topic     string
	Params    []byte // any JSON value
	Channel   string
	SocketID  string
	Assigns   []byte
	Transport string
	Peer      string
	Trace     Trace

	Reauthorize bool // the channel is joined, and its client wants other params to hold
	Recheck     bool // the channel is joined, and the bus brought an order to ask again
}

// JoinAsk is a request and who gets its answer.
type JoinAsk struct {
	*JoinRequest
	Done func(*JoinDecision, error)

	socket *socket
}

// JoinDecision is its answer.
type JoinDecision struct {
	OK        bool
	Response  []byte   // JSON value for the client
	Assigns   []byte   // channel assigns, the socket's already merged in; JSON object in ASCII, or nil
	Granted   []byte   // the same without the socket's; JSON object, or nil
	Events    []string // events that the client may send, where HasEvents
	HasEvents bool
	ExpiresAt time.Time
	Presence  *JoinPresence // nil: as the rule says
}

// JoinPresence is a channel's part in its topic's presence.
type JoinPresence struct {
	Tracked bool // else it watches only
	Key     string
	Meta    []byte // JSON object, or nil
}
