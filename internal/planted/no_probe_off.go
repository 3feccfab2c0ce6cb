//go:build !planted_no_probe

package planted

// NoProbe answers a join when the subscription is in force at the gateway's own NATS server, whatever the others know.
const NoProbe = false
