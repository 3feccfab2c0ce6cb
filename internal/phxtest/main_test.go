package phxtest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine of an instrument outlives its test.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// failing is a test that is meant to fail: it keeps what Fatalf says.
type failing struct {
	testing.TB // the real one, for Cleanup and the like
	message    string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// wantFailure runs use with a test that may fail, and fails the real one
// unless it did, with a message that holds all the texts.
func wantFailure(t *testing.T, use func(testing.TB), texts ...string) {
	t.Helper()
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		use(f)
	}()
	<-done
	if f.message == "" {
		t.Errorf("no failure, want one about %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(f.message, text) {
			t.Errorf("failure without %q:\n%s", text, f.message)
		}
	}
}
