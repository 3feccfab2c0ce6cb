package hostile

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine of a gateway, a NATS server or a client is left over.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
