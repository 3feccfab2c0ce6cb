//go:build planted_probe

package planted

// NoProbe: a join is confirmed at the gateway's own NATS server only.
const NoProbe = true
