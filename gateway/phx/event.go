package phx

// The names Phoenix reserves (Phoenix 1.8 socket.ex, handle_in). Nothing else
// that begins with "phx_" is special.
const (
	// TopicPhoenix is the topic heartbeats are sent on; for every other event
	// it is a topic like any other.
	TopicPhoenix = "phoenix"
	// EventHeartbeat, on TopicPhoenix, shows that a client is alive.
	EventHeartbeat = "heartbeat"
	// EventJoin, from a client, asks to join a topic.
	EventJoin = "phx_join"
	// EventLeave, from a client, asks to leave a topic.
	EventLeave = "phx_leave"
	// EventReply, to a client, answers the push whose ref it carries.
	EventReply = "phx_reply"
	// EventClose, to a client, says that a channel has ended as it should; the
	// client does not join again.
	EventClose = "phx_close"
	// EventError, to a client, says that a channel has crashed; the client
	// joins again.
	EventError = "phx_error"
)
