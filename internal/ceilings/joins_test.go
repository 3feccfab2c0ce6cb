//go:build linux

package ceilings

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// waitingJoins: 10,000 joins, each of its own topic and with a kilobyte of params, wait for an authz service that never answers; MAX_CHANNELS_PER_SOCKET counts them too.
// All are answered when AUTHZ_TIMEOUT is over, and leave nothing behind.
func waitingJoins(t *testing.T, c *ceilings) {
	const channels = 2
	sockets := sized(10_000) / channels
	timeout := phxtest.Scaled(3 * time.Second)
	a := c.arena(t, "waiting joins", fmt.Sprintf("MAX_CHANNELS_PER_SOCKET=%d", channels), fmt.Sprintf("AUTHZ_TIMEOUT=%v", timeout))
	a.silence("phx.authz.join")
	crowd := dial(t, a.addr, sockets, 0)
	params := `{"x":"` + strings.Repeat("x", 1000) + `"}`
	join := func(i, channel int) []byte {
		return textFrame(fmt.Sprintf(`["%[2]d","%[2]d","silent:%[1]d-%[2]d","phx_join",%[3]s]`, i, channel, params))
	}
	reply := func(s sock, reason string) error {
		f, err := readMessage(s)
		if err == nil && !strings.Contains(string(f.payload), `{"status":"error","response":{"reason":"`+reason+`"}}`) {
			err = fmt.Errorf("got %s, want %s", f.payload, reason)
		}
		return err
	}
	a.press(channels*sockets, func() {
		paced(channels*sockets, 8000, func(i int) {
			if _, err := crowd[i/channels].Write(join(i/channels, i%channels)); err != nil {
				t.Fatalf("socket %d: %v", i/channels, err)
			}
		})
		// One more of each socket is refused at once, while the first wait.
		crowd.exchange(t, func(i int) []byte { return join(i, channels) }, func(_ int, s sock) error { return reply(s, "too many channels joined") })
		m := a.scrape(t)
		if got, want := m.value("phxgate_topics", ""), int64(channels*sockets+1); got > want || got <= 1 {
			t.Errorf("phxgate_topics is %d while joins wait, want at most %d", got, want)
		}
		a.wantCount(t, "phxgate_joins_total", `outcome="unavailable"`, channels*sockets)
		a.wantCount(t, "phxgate_joins_total", `outcome="refused"`, sockets)
	})
	for i, s := range crowd {
		for range channels {
			if err := reply(s, "authorization unavailable"); err != nil {
				t.Fatalf("socket %d: %v", i, err)
			}
		}
	}
	m := a.scrape(t)
	if got := m.value("phxgate_waiting_bytes", ""); got != 0 {
		t.Errorf("phxgate_waiting_bytes is %d when no join waits", got)
	}
	if got := m.value("phxgate_topics", ""); got != 1 {
		t.Errorf("phxgate_topics is %d when no join waits, want the healthy clients' only", got)
	}
	// Params are held by the channel and by the request on its way; 8 KiB a join, and the collector's double.
	a.verdict(idleBytes + 2*int64(channels*sockets)*(8<<10))
}
