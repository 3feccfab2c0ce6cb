package rules

import (
	"fmt"
	"strings"
	"time"
)

// EventRule is what a client's event does.
type EventRule struct {
	Event      string // an exact event name, or a prefix that ends in *
	Do         Do
	Timeout    time.Duration // Call only: how long a backend may take, more than 0
	Concurrent bool          // Call only: the channel's next event does not wait for the answer
	Reply      bool          // Broadcast, BroadcastFrom, Cast, PresenceUpdate: answer ok and {} once NATS has the message; Reauthorize (where it is the default): once it is accepted
	Set        []Assignment  // Broadcast, BroadcastFrom only: written over the payload's keys
	Fields     []string      // PresenceUpdate only: the keys of the meta that the payload may set, at least one
	Line       int           // of the file, from 1
}

// Do is the kind of an event rule.
type Do uint8

// The kinds of event rules (docs/contract.md, "Events from clients").
const (
	Reject         Do = iota // answered with {"reason":"unmatched event"}
	Broadcast                // published on the topic
	BroadcastFrom            // published on the topic, for everyone but the sender
	Call                     // a backend is asked, and the client gets its answer
	Cast                     // published to a backend
	PresenceUpdate           // changes the client's own presence meta
	Reauthorize              // who decided the join is asked again, with other params
)

var doWords = []string{
	Reject: "reject", Broadcast: "broadcast", BroadcastFrom: "broadcast_from", Call: "call", Cast: "cast",
	PresenceUpdate: "presence_update", Reauthorize: "reauthorize",
}

// String returns the word for d in a rules file.
func (d Do) String() string {
	if int(d) < len(doWords) {
		return doWords[d]
	}
	return fmt.Sprintf("Do(%d)", d)
}

// options names the keys of an event rule that belong to some kinds only.
var options = map[string][]Do{
	"timeout":    {Call},
	"concurrent": {Call},
	"reply":      {Broadcast, BroadcastFrom, Cast, PresenceUpdate, Reauthorize},
	"fields":     {PresenceUpdate},
	"set":        {Broadcast, BroadcastFrom},
}

// defaultTimeout is a call's (docs/contract.md, "Events from clients").
const defaultTimeout = 5 * time.Second

// Reserved reports whether only the servers use an event name, so that no rule may broadcast a client's event of it:
// clients would take it for the protocol's own. A wildcard rule can match such names: who broadcasts must ask.
func Reserved(event string) bool {
	switch event {
	case "presence_state", "presence_diff", "presence_count", "gap":
		return true
	}
	return strings.HasPrefix(event, "phx_")
}
