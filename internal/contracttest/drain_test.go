package contracttest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// dialMany opens sockets and returns a function that waits until all are closed, with 1012, and says when each was.
func dialMany(t *testing.T, g *gateway, n int) (closed func() []time.Time) {
	t.Helper()
	at := make([]time.Time, n)
	var all sync.WaitGroup
	for i := range n {
		c := g.dial(t, phxtest.Name(fmt.Sprint("socket", i)))
		all.Go(func() {
			_, err := c.TryRecv(time.Minute) // WantClosed is not patient enough
			at[i] = time.Now()
			var closed *phxtest.ClosedError
			if !errors.As(err, &closed) || closed.Code != 1012 {
				t.Errorf("socket %d: %v, want the close 1012", i, err)
			}
		})
	}
	return func() []time.Time {
		all.Wait()
		return at
	}
}

// Sockets are closed evenly over the drain, in random order.
func TestDrainPace(t *testing.T) {
	t.Parallel()
	const sockets, quarters = 80, 4
	g, _ := setup(t, everything, "DRAIN_TIMEOUT=16s", "DRAIN_SPREAD=4s")
	closed := dialMany(t, g, sockets)
	start := time.Now()
	g.signal(syscall.SIGTERM)
	g.waitForReady(503)
	if _, body := g.readyz(); !strings.Contains(body, "draining") {
		t.Errorf("readyz says %q", body)
	}
	waitFor(t, "the count of the drain's sockets", func() bool { return g.count(t, "phxgate_drain_sockets") == sockets })
	if draining, left := g.count(t, "phxgate_draining"), g.count(t, "phxgate_sockets"); draining != 1 || left == 0 || left > sockets {
		t.Errorf("phxgate_draining %d, phxgate_sockets %d", draining, left)
	}
	var in [quarters + 1]int
	upwards := 0
	at := closed()
	for i, a := range at {
		in[min(int(a.Sub(start)/time.Second), quarters)]++
		if i > 0 && a.After(at[i-1]) {
			upwards++
		}
	}
	for q, n := range in[:quarters] {
		if n < sockets/quarters/2 || n > sockets/quarters*3/2 {
			t.Errorf("closed in each second: %v; in second %d too many or too few", in, q)
		}
	}
	if upwards < sockets/4 || upwards > sockets*3/4 {
		t.Errorf("%d of %d sockets were closed after the one that connected before, want about half", upwards, sockets)
	}
	if status := g.wantExit(phxtest.Patience()); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
}

// For DRAIN_DELAY a gateway is not ready, and serves all the same.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "DRAIN_DELAY=2s", "DRAIN_TIMEOUT=10s")
	before := g.dial(t)
	start := time.Now()
	g.signal(syscall.SIGTERM)
	g.waitForReady(503)
	late := g.dial(t)
	late.Join("room:1", struct{}{})
	before.Heartbeat()
	if took := time.Since(start); took > 1500*time.Millisecond {
		t.Skipf("the machine is too slow: %v", took)
	}
	before.WantClosed(1012)
	late.WantClosed(1012)
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("sockets were closed after %v, want DRAIN_DELAY", took)
	}
	if status := g.wantExit(phxtest.Patience()); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
}

// A second SIGTERM ends it now; nobody is left without a close frame.
func TestSecondSIGTERM(t *testing.T) {
	t.Parallel()
	for _, delay := range []string{"0s", "30s"} {
		t.Run(delay, func(t *testing.T) {
			t.Parallel()
			g, b := setup(t, everything, "DRAIN_TIMEOUT=60s", "DRAIN_DELAY="+delay)
			left := b.listen("phx.left.>")
			c := g.dial(t, phxtest.NoCloseReply())
			c.Join("room:1", struct{}{})
			closed := dialMany(t, g, 60)
			g.signal(syscall.SIGTERM)
			g.waitForReady(503)
			second := time.Now()
			g.signal(syscall.SIGTERM)
			if status := g.wantExit(phxtest.Scaled(1500 * time.Millisecond)); status != 0 {
				t.Errorf("exit status %d, want 0", status)
			}
			for i, at := range closed() {
				if at.Sub(second) > phxtest.Scaled(1500*time.Millisecond) {
					t.Errorf("socket %d was closed %v after the second SIGTERM", i, at.Sub(second))
				}
			}
			if msg := next(t, left); string(msg.Data) != `{"reason":"drained"}` {
				t.Errorf("left: %s", msg.Data)
			}
		})
	}
}

// Out of time: clients that do not go are left behind, and the status is 0.
func TestDrainOutOfTime(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "DRAIN_TIMEOUT=2s")
	for range 5 {
		g.dial(t, phxtest.NoCloseReply(), phxtest.Paused())
	}
	start := time.Now()
	g.signal(syscall.SIGTERM)
	if status := g.wantExit(2*time.Second + phxtest.Scaled(500*time.Millisecond)); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("it waited for %v only", took)
	}
}

// A socket that is as old as it may become is closed as in a drain.
func TestMaxConnectionAge(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "MAX_CONNECTION_AGE=4s")
	left := b.listen("phx.left.>")
	start := time.Now()
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.WantClosed(1012)
	if age := time.Since(start); age < 2900*time.Millisecond || age > phxtest.Scaled(5*time.Second) {
		t.Errorf("closed after %v, want between three quarters of 4s and that", age)
	}
	if msg := next(t, left); string(msg.Data) != `{"reason":"drained"}` {
		t.Errorf("left: %s", msg.Data)
	}
	if n := g.count(t, `phxgate_sockets_ended_total{cause="max_age"}`); n != 1 {
		t.Errorf("%d sockets ended for their age, want 1", n)
	}
}
