// Package hostile attacks a gateway with what no decent client sends. It holds tests only: each class of hostile input has an arena of its own, a gateway with a
// NATS server, in which innocent clients must be served meanwhile and after.
package hostile
