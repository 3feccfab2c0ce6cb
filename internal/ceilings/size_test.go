//go:build linux

package ceilings

import (
	"os"
	"testing"
)

// smallDivisor is how much smaller a small run is.
const smallDivisor = 20

// small reports whether this run is a small one: the race detector makes this process, which is client, publisher and NATS server at once, so slow that the
// figures of a full run would be its own and not the gateway's.
func small() bool {
	return os.Getenv("CEILINGS") != "full" && (raceDetector || testing.Short())
}

// sized is a number of sockets or bytes at the size of this run.
func sized(n int) int {
	if small() {
		return n / smallDivisor
	}
	return n
}
