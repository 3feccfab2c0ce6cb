// Package authz is how connects and joins are decided. First, the JSON between a gateway and the authz service it asks: the
// requests on phx.authz.connect and phx.authz.join, and the replies to them (docs/contract.md, "Authorization").
//
//	connect.go   a socket asks to be let in: ConnectRequest, ParseConnectReply
//	join.go      one of its channels asks to join a topic: JoinRequest, ParseJoinReply
//	fields.go    the members of a reply, typed and checked
//
// Second, the tokens that a gateway verifies by itself (docs/contract.md, "Programs"):
//
//	token.go         Verifier: a JWT and a time in, its claims or a reason out
//	token_claims.go  what the claims must be
//	token_key.go     a secret or a public key, and the algorithm that follows from it
//	token_jwks.go    a JWK Set: which keys of it are used, which of them a token means
//	token_keyset.go  KeySet: fetching a JWK Set, and keeping it fresh
//	token_pool.go    TokenPool: verifying away from the event loops
//	phoenix_token.go PhoenixVerifier: the same for what Phoenix.Token.sign/4 made, whose terms package etf reads
//
// All but KeySet and TokenPool is pure: no clock, connection or goroutine. Who asks, how long to wait and what the client
// is told are the caller's. It fails closed: a reply that the contract does not describe is an error that wraps
// ErrNonsense, never a permission, and a key that decides is not guessed from two that contradict. A plain refusal is taken as one whatever
// else stands beside it, for there is nothing in it to grant.
//
// What is returned may point into the bytes that were parsed; they must not be changed afterwards.
package authz
