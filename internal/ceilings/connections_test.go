//go:build linux

package ceilings

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// maxConnections: more connections than MAX_CONNECTIONS. Those beyond it are held and then told 503 before the upgrade, or, where very many come at once, closed; when some go
// there is room again.
func maxConnections(t *testing.T, c *ceilings) {
	limit := sized(8000)
	a := c.arena(t, "MAX_CONNECTIONS", fmt.Sprintf("MAX_CONNECTIONS=%d", limit))
	held := dial(t, a.addr, limit-healthyMembers, 0)
	refused, more := 0, 4*wave // each wave waits for as long as it is held
	a.press(limit+more, func() {
		for refused < more {
			n := min(wave/2, more-refused)
			beyond := connect(t, a.addr, n, 0)
			beyond.exchange(t, func(int) []byte { return []byte(upgradeRequest) }, func(i int, s sock) error {
				status, err := s.status()
				if err == nil && status != http.StatusServiceUnavailable {
					err = fmt.Errorf("status %d, want 503", status)
				}
				return err
			})
			beyond.close()
			refused += n
			a.waitForConnections(limit)
		}
		refused += a.stampede(sized(4000))
		a.wantCount(t, "phxgate_connections_refused_total", "", refused)
	})
	freed := len(held) / 10
	held[:freed].close()
	a.waitForConnections(limit - freed)
	dial(t, a.addr, freed, 0)
	if got := a.count(t, "phxgate_connections_refused_total", ""); got != int64(refused) {
		t.Errorf("phxgate_connections_refused_total is %d, want %d: there was room again", got, refused)
	}
	// An idle socket costs some kilobytes at most.
	a.verdict(idleBytes + int64(limit)*(4<<10))
}

// waitForConnections waits until the gateway holds no more than n.
func (a *arena) waitForConnections(n int) {
	a.t.Helper()
	waitFor(a.t, fmt.Sprintf("%d connections", n), func() bool { return a.count(a.t, "phxgate_connections", "") <= int64(n) })
}

// stampede opens n connections at once and wants each refused, by an answer or by a close; it returns how many there were.
func (a *arena) stampede(n int) int {
	a.t.Helper()
	beyond := connect(a.t, a.addr, n, 0)
	for _, s := range beyond {
		_, _ = s.Write([]byte(upgradeRequest)) // it may be closed already
	}
	told := 0
	for i, s := range beyond {
		answer, _ := io.ReadAll(s) // a reset is a close
		switch {
		case bytes.HasPrefix(answer, []byte("HTTP/1.1 503 ")):
			told++
		case len(answer) > 0:
			a.t.Fatalf("connection %d beyond the limit: %.60q, want 503 or a close", i, answer)
		}
	}
	beyond.close()
	a.t.Logf("%d connections at once: %d were told 503, the others closed", n, told)
	return n
}
