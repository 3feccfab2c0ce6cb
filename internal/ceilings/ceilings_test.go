//go:build linux

package ceilings

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ceilings is what the tests of all limits share: the program, built once, and the figures.
type ceilings struct {
	binary string
	rows   []row
}

// TestCeilings runs the limits one after the other and prints their figures.
func TestCeilings(t *testing.T) {
	c := &ceilings{binary: buildGateway(t)}
	// Sockets of a crowd block threads; the clients that measure must not wait for those.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	if small() {
		t.Logf("1/%d of the size: the race detector or -short is on, and CEILINGS=full is not set", smallDivisor)
	}
	for _, limit := range []struct {
		name string
		run  func(*testing.T, *ceilings)
	}{
		{"OUTBOUND_BYTES", outboundBytes},
		{"INBOUND_BYTES_TOTAL", inboundBytesTotal},
		{"MAX_CONNECTIONS", maxConnections},
		{"MAX_FRAME_BYTES", maxFrameBytes},
		{"waiting_events", waitingEvents},
		{"waiting_bytes", waitingBytes},
		{"waiting_joins", waitingJoins},
		{"bus_inbox", busInbox},
	} {
		t.Run(limit.name, func(t *testing.T) { limit.run(t, c) })
	}
	t.Log(c.table())
}

// buildGateway builds the program.
func buildGateway(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/gateway").CombinedOutput(); err != nil {
		t.Fatalf("build ./cmd/gateway: %v\n%s", err, out)
	}
	return binary
}
