//go:build !planted_no_gap

package planted

// NoGap tells no channel that the connection to NATS was lost.
const NoGap = false
