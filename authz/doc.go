// Package authz is the JSON between a gateway and the authz service it asks: the requests on phx.authz.connect and
// phx.authz.join, the replies to them, and the merging of the assigns that they give (docs/contract.md, "Authorization").
//
//	connect.go   a socket asks to be let in: ConnectRequest, ParseConnectReply
//	join.go      one of its channels asks to join a topic: JoinRequest, ParseJoinReply
//	fields.go    the members of a reply, typed and checked
//
// The package is pure: no clock, connection or goroutine. Who asks, how long to wait and what the client is told are the
// caller's. It fails closed: a reply that the contract does not describe is an error that wraps ErrNonsense, never a
// permission, and a key that decides is not guessed from two that contradict. A plain refusal is taken as one whatever
// else stands beside it, for there is nothing in it to grant.
//
// What is returned may point into the bytes that were parsed; they must not be changed afterwards.
package authz
