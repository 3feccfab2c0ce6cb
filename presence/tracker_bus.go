package presence

// TrackerBus is what a gateway's tracker needs of NATS. Its methods never block and may be called from any goroutine; what one goroutine hands over goes out in that order.
type TrackerBus interface {
	// Available reports whether there is a connection now.
	Available() bool
	// Store puts a value under a key of the bucket, a registration where entry is ""; nil removes the key. id is the change's own, the same when it is stored again: it is stored once.
	// stored is called once, on any goroutine: with the change's point of the log, or an error, after which it may have been stored or not.
	Store(incarnation, entry, topic string, value []byte, id string, stored func(seq uint64, err error))
	// Check asks the owner of a partition, Hello greets the presence service; nobody may be there.
	Check(partition int, message []byte)
	Hello(message []byte)
}

// Clients is what a tracker tells: the gateway, in basic types, since the two packages do not know each other. What one goroutine hands over reaches a client in that order; no method
// waits for a client.
type Clients interface {
	// PushPresence pushes an event to one channel; payload is shared and is not changed. A channel that is gone is ignored.
	PushPresence(channel, event string, payload []byte)
	// BroadcastPresence sends an event to every member of a topic on this gateway.
	BroadcastPresence(topic, event string, payload []byte)
	// FindChannel looks for a joined channel that a backend wants to track; found is called once, on any goroutine. If it was found, Tracker.Leave is called when it ends.
	FindChannel(channel string, found func(topic, socketID string, assigns []byte, ok bool))
}

// The events of presence (Phoenix 1.8 presence.ex; the contract).
const (
	eventState = "presence_state"
	eventDiff  = "presence_diff"
	eventCount = "presence_count"
)
