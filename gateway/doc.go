// Package gateway is one gateway: WebSocket sockets in, channels in the middle, fan-out out. It speaks the Phoenix Channels protocol (Phoenix 1.8) to clients and knows
// nothing of NATS: bus.go declares what it needs of the outside.
//
// The way of a message, file by file:
//
//	poller_linux.go, transport_*.go  bytes of a socket; loop.go turns the wheel
//	read.go          bytes to frames to messages (websocket.go knows RFC 6455, phx the messages)
//	dispatch.go      heartbeat, join, leave or event
//	join.go          a join, from the request to the reply
//	authorize.go     who decides about it, then and again; recheck.go at a backend's order
//	waiting.go       whose turn it is: what waits behind a join or a call, in a queue of items.go
//	limits.go        how often a client may send and join; users.go all sockets of one user together
//	event.go         what the channel's rule does with an event, and what a backend's answer does
//	trace.go         the trace context that all of this carries to backends
//	presence.go      the part a channel takes in its topic's presence, and what its client is told of that
//	control.go       what backends order: pushes, closes, kicks; gap.go: what may have been missed
//	hub.go           a broadcast from the bus to the loops that have members; its frames are made here
//	filter.go        where the rule has `deliver`: what each member gets, decided before the loops by filterpool.go
//	deflate.go       frames for clients that compress, and their messages
//	pending.go       a topic's broadcasts until the end of the turn; heavy.go those that take turns
//	topic.go         fan-out to the members of one loop
//	send.go, outbox.go  frames to bytes, one write for each socket and turn; slow.go: what a client misses that does not read
//	close.go         why and how sockets end; channel.go the same for channels
//	drain.go         how all of them end; retire.go, shed.go: those that end for their age, or since there are too many here (fleet.go: what gateways say of themselves)
//
// and of a connection: accept_linux.go, proxyheader.go where proxies send one, handshake.go (origin.go, query.go), admission.go (gate.go) where it must wait for its turn, then socket.go.
//
// One goroutine, the loop, owns a socket and everything of it; no lock is taken on that way but the hub's. Other goroutines send the loop mail (mailbox.go). Nothing
// in a loop waits for anything remote. The package promises the order of each client's and each backend's messages as docs/architecture.md says, and delivers at most once.
package gateway
