package presence

import "encoding/json"

// Stamp says between which points of the log a diff leads. It is right for exactly those views whose point is at least After and less than First.
type Stamp struct {
	Epoch uint64 `json:"epoch"` // of the stream: one that is made anew begins to count at 1 again
	After uint64 `json:"after"` // at or beyond the topic's last change that is not in the diff
	First uint64 `json:"first"` // the first change in it
	Rev   uint64 `json:"rev"`   // the last change in it: the view's point from then on
}

// A diff is emitted on its topic as an envelope: {"event":"presence_diff","payload":{"joins":…,"leaves":…},"presence":<Stamp>}. Gateways take it from there; any other subscriber
// sees the broadcast that the contract describes.

// Check is what a gateway sends to the owner of a partition: compare these topics with yours. It is answered with TopicStates, in as many ToGateway messages as are needed.
type Check struct {
	Gateway string       `json:"gateway"` // gateway id
	Topics  []CheckTopic `json:"topics"`
}

// CheckTopic is one topic as the gateway sees it. A view that holds nothing yet says Rev 0.
type CheckTopic struct {
	Topic string `json:"topic"`
	Epoch uint64 `json:"epoch"`
	Rev   uint64 `json:"rev"`
	Hash  uint64 `json:"hash,string"`
}

// TopicState is a topic at a point of the log, at a boundary of its diffs: every diff of the same sender that leads beyond it is sent after it.
type TopicState struct {
	Topic string `json:"topic"`
	Epoch uint64 `json:"epoch"`
	Rev   uint64 `json:"rev"`
	Hash  uint64 `json:"hash,string"`    // of the presences
	Same  bool   `json:"same,omitempty"` // the gateway's view had that hash when it asked; there are no presences then
	Part  int    `json:"part,omitempty"` // from 0 to Parts-1; all parts of a state are sent one after the other
	Parts int    `json:"parts,omitempty"`
	// Presences is as in presence_state.
	Presences json.RawMessage `json:"presences,omitempty"`
}

// ToGateway is what the presence service sends to one gateway, on its private subject. One member is set.
type ToGateway struct {
	States []TopicState `json:"states,omitempty"`
	// Ping names the incarnation that is believed alive; answered with Pong.
	Ping string `json:"ping,omitempty"`
	// Reset: this incarnation is not registered (any more). If it is the gateway's, it takes a new one and tracks everything again.
	Reset string `json:"reset,omitempty"`
	// Took: see the type.
	Took *Took `json:"took,omitempty"`
	// Update is a backend's order for one of the gateway's channels; answered with UpdateReply.
	Update *Update `json:"update,omitempty"`
}

// Pong is the answer to a ping: the incarnation that the gateway has now.
type Pong struct {
	Incarnation string `json:"incarnation"`
}

// Hello is published by a gateway that is registered and has not been pinged for a while: nobody may know it.
type Hello struct {
	Gateway     string `json:"gateway"`
	Incarnation string `json:"incarnation"`
}

// Sync is published by a replica that took partitions over: gateways compare their views of them.
type Sync struct {
	Partitions []int `json:"partitions"`
}

// Update is a backend's request on phx.presence.update.<T> (contract, "Presence").
type Update struct {
	Topic   string          `json:"topic,omitempty"` // set by the service, from the subject
	Channel string          `json:"channel"`
	Op      string          `json:"op,omitempty"`  // track, update (if absent) or untrack
	Key     *string         `json:"key,omitempty"` // absent: the key that the channel joined with
	Meta    json.RawMessage `json:"meta,omitempty"`
}

// UpdateReply is its answer. Seq is the point of the log that has the change, 0 if there was none; it is not for backends.
type UpdateReply struct {
	Status string `json:"status"`           // ok or error
	Reason string `json:"reason,omitempty"` // of an error, in the words of the contract
	Seq    uint64 `json:"seq,omitempty"`
}
