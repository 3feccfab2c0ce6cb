// Package presence knows who is on which topic, and what to tell the clients. It knows nothing of NATS: service_bus.go and tracker_bus.go declare what it needs of it.
//
// The JetStream KV bucket is a log, and its sequence is the clock of everything. Each gateway is the only writer of its entries: what its sockets hold is the truth, and
// the bucket can be filled again from it. The way of a change:
//
//	tracker.go       a gateway's side: a channel tracks, updates, untracks, ends; tracker_entry.go makes it one message of the bucket
//	record.go        that message, as the bucket's log gives it to every replica of the presence service
//	state.go         the whole, at one point of the log: who is visible where
//	diff.go          what changed on a topic, gathered by the one replica that owns the topic's partition (replicas.go), and emitted by service.go
//	view.go          a gateway's copy of one topic: it takes a diff that fits exactly and asks for the topic where none does
//	tracker_view.go  hands diffs and states to the gateway's clients; tracker_check.go asks, tracker_tell.go is what a joiner is owed
//
// State, diff and view are pure: values in, values out, no clock, no goroutine.
//
// Nobody's view can be wrong for long, whatever is lost, doubled or delayed: a diff says which points of the log it leads from and to, a view that it does not fit is compared
// with the owner's (by a hash, so that equality is cheap) and replaced, and the gateway tells its clients the difference. So a takeover needs no agreement between replicas: who
// takes over asks every gateway to compare.
//
// An incarnation is one life of a gateway. Entries count only while their incarnation is registered: its death is the end of one key, and what a gateway that was given up
// still writes is not believed. judge.go decides about deaths.
package presence
