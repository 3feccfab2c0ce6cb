package e2e

import (
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestDeflate runs the phoenix client over a WebSocket that offers permessage-deflate, with one that does not beside it.
func TestDeflate(t *testing.T) {
	needNode(t)
	port := freePorts(t, 3)
	startProcess(t, []string{"dev", "--data", t.TempDir()}, "NATS_URL="+phxtest.StartNATS(t), "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+2), "COMPRESS=true")
	waitForOK(t, pageURL(port))
	s := runScript(t, "deflate.mjs", map[string]any{"url": socketURL(local(port))}, phxtest.Scaled(time.Minute))
	var heard struct{ Messages int }
	if s.want("heard", &heard); heard.Messages != 12 {
		t.Errorf("%d messages were heard", heard.Messages)
	}
	s.wantEnd()
}
