// Package e2e tests the gateway from its users' side: the Phoenix client as npm ships it, in the versions 1.6, 1.7 and 1.8, run by Node; the chat page of
// `gateway dev` in a browser; gateways as processes that are killed and drained.
//
// The scripts in js/ hold the client's side: a target comes in as JSON, and findings come out, a line of JSON each (report.mjs). Where a test has to act in
// the middle, to kill a gateway for example, the finding is what it waits for.
//
// Node with npm, and Chromium, must be there; without them the tests are skipped, or fail where the environment variable CI is set.
package e2e

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removePrograms()
		os.Exit(code)
	}))
}

// unavailable skips the test for want of something that the machine lacks. In CI, where everything is to run, it fails.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
