// Package nats joins the gateway to NATS: it is the only package of the product that imports nats.go.
//
// One connection, one Go chan and one reader carry everything that comes in: broadcasts of topics, messages for channels and sockets, and
// the answers to requests. That is what keeps the order of the contract: what one backend publishes on one connection reaches a client in that order, whether
// it is a broadcast, a push or the reply to a call. Everything that goes out passes one queue and one writer, so that no event loop ever waits for a
// connection.
//
//	subject.go   topics, events and ids as subject tokens; the subjects of the contract
//	header.go    header values
//	conn.go      how to reach NATS, and the options every connection has
//	link.go      a connection that comes and goes, and what is known of it
//	bus.go       gateway.Bus: subscriptions, broadcasts, casts, joined and left
//	outbound.go  the queue to the writer; confirmation of subscriptions
//	probe.go     what the other servers of a cluster know of a subscription
//	request.go   requests whose answers come through the one reader
//	inbound.go   the reader: what a message is and for whom
//	publish.go   checking what a backend published
//	answer.go    reading a backend's answer
//	authorizer.go  gateway.Authorizer over phx.authz.connect and phx.authz.join
//	dropped.go   telling about what was dropped
//	embedded.go  a NATS server inside the process
//	api.go       api.Bus: what comes by HTTP, on a connection of its own
//
// And for presence (docs/presence.md), beside the gateway's connection or on one of presence-svc's own:
//
//	presence_subject.go  subjects and keys
//	presence_gateway.go  presence.TrackerBus over a gateway's bus
//	presence_service.go  presence.ServiceBus: a connection of the presence service
//	bucket.go            its bucket: made, marked and loaded
//	presence_log.go      the bucket's log, handed on without a hole
package nats
