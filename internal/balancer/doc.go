// Package balancer spreads TCP connections over a fleet of gateways on one
// machine, so that `gateway dev --gateways 3` has one address to give to
// browsers. It knows nothing of WebSocket: bytes go both ways as they come.
//
// [Balancer.Serve] accepts; one goroutine per connection picks the live backend
// with the fewest open connections (backend.go), dials it, and copies both ways
// until the connection is over (relay.go). A backend that cannot be dialled is
// left out for a second and probed meanwhile. An open connection never moves: it
// breaks with its backend, and the client's reconnect finds another one.
//
// What it does not do: health checks beyond a TCP connect, TLS, queueing, or
// keeping a client while no backend is there. It is for development, not a
// replacement of a load balancer in front of a real fleet.
package balancer
