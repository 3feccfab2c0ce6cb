// Package api is a door for backends that speak HTTP and not NATS: POST /api/broadcast, POST /api/disconnect and GET /api/presence, as docs/openapi.yaml describes them. It knows HTTP and
// JSON; what a message must be, and how it gets to NATS, is the [Bus]'s. The door is shut to whoever has no token.
//
//	handler.go    the way of a request: token, method, turn, route
//	broadcast.go, disconnect.go, presence.go  a route each
//	body.go       reading JSON, with the place of each mistake
//	refusal.go    errors as statuses, in one place
//	token.go      the tokens, and the file they are in
package api
