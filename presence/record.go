package presence

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// Record is one message of the bucket's log. The bucket's keys are
//
//	<incarnation>                  its registration, a [Registration]
//	<incarnation>.<entry>.<T>      an entry of it on a topic, an [Entry]
//
// so that one gateway is `<incarnation>.>` and one topic `*.*.<T>`.
type Record struct {
	Seq         uint64 // of the message in the stream
	Incarnation string // one life of a gateway: "<gateway id>=<random>"
	Entry       string // "" for the registration
	Topic       string // of an entry
	Op          Op
	Value       []byte // with OpPut
}

// Op is what a record does to its key.
type Op uint8

// The operations of a record. A removal of any kind that the server makes itself (expiry of a marker) is none.
const (
	OpPut  Op = iota
	OpGone    // the key was removed by the gateway itself
	OpLost    // a registration was removed by the presence service: the gateway died
)

// Registration is the value of a registration: while it is there, the incarnation's entries count.
type Registration struct {
	// Draining: the gateway goes away. Its entries stay as they are, and may be taken over, until they or the registration are removed.
	Draining bool `json:"draining,omitempty"`
	// Linger is how long, in milliseconds, entries stay when a gateway that drained is gone.
	Linger int64 `json:"linger,omitempty"`
}

// Entry is the value of an entry: one channel tracked under one key.
type Entry struct {
	Key  string          `json:"key"`
	Ref  string          `json:"ref"`            // never used twice; becomes phx_ref, unless the entry takes another's place (see Took)
	Prev string          `json:"prev,omitempty"` // the phx_ref that it replaced, where it is an update
	Meta json.RawMessage `json:"meta"`           // an object, as CleanMeta returns it
	// Since is the point of the log at which the entry was first put; 0 in that first record, whose own it is.
	Since uint64 `json:"since,omitempty"`
	// Settled: the gateway has written what a Took told it; the entry takes no other's place any more.
	Settled bool `json:"settled,omitempty"`
	// Socket is the socket's id, "" for an anonymous one: only the same takes an entry over.
	Socket  string          `json:"socket,omitempty"`
	Channel string          `json:"channel"`           // channel id
	Assigns json.RawMessage `json:"assigns,omitempty"` // of the channel when it was tracked, for phx.left if the gateway dies
	// Lingers: the channel has ended, for no fault of its user, who may come back: the entry is still seen, and may be taken over, until it is removed.
	Lingers bool `json:"lingers,omitempty"`
}

// Partitions is how many parts topics are split into; each is owned by one replica at a time.
const Partitions = 64

// Partition is the part of a topic: FNV-1a of 32 bits, modulo Partitions.
func Partition(topic string) int {
	h := fnv.New32a()
	h.Write([]byte(topic))
	return int(h.Sum32() % Partitions)
}

// parse reads the value of an entry.
func (e *Entry) parse(value []byte) error {
	if err := json.Unmarshal(value, e); err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	if e.Ref == "" || len(e.Meta) < 2 || e.Meta[0] != '{' || CheckKey(e.Key) != nil {
		return fmt.Errorf("entry: ref, key or meta is missing or wrong")
	}
	return nil
}

// since is the point of the log at which an entry's first record was, as far as a record says.
func (r *Record) since() uint64 {
	var v struct {
		Since uint64 `json:"since"`
	}
	if json.Unmarshal(r.Value, &v) != nil || v.Since == 0 {
		return r.Seq
	}
	return v.Since
}
