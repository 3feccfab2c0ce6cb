package nats

import (
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestAnnounce: what a gateway says of itself reaches every gateway, itself too, with the name of its NATS server.
func TestAnnounce(t *testing.T) {
	url := phxtest.StartNATS(t)
	a, heardA := startBus(t, url)
	b, heardB := startBus(t, url)
	if err := b.nc().FlushTimeout(phxtest.Patience()); err != nil { // else it may subscribe behind the one announcement
		t.Fatal(err)
	}
	s := gateway.Status{ID: "g1", Version: "v1.2.3", Sockets: 3, Channels: 2, Topics: 1, Lag: 1500 * time.Microsecond, State: gateway.Draining}
	if err := a.Announce(&s); err != nil {
		t.Fatal(err)
	}
	line := "gateway g1 v1.2.3: 3 sockets, 2 channels, 1 topics, 1.5ms behind, draining, at " + a.nc().ConnectedServerName()
	for _, r := range []*recorder{heardA, heardB} {
		waitFor(t, line, func() bool { return r.count(line) == 1 })
	}
}

// TestBadAnnouncements: what makes no sense, or comes on another gateway's subject, is dropped and counted; keys of later versions are ignored.
func TestBadAnnouncements(t *testing.T) {
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	nc := backend(t, url)
	bad := []string{
		``, `[]`, `{}`, `{"id":"other","state":"serving"}`, `{"id":"g9"}`, `{"id":"g9","state":"asleep"}`, `{"id":"g9","state":"serving","sockets":-1}`,
		`{"id":"g9","state":"serving","sockets":1.5}`, `{"id":"g9","state":"serving","lag_ms":-1}`, `{"id":"g9","state":"serving","lag_ms":1e300}`,
		`{"id":"g9","state":"serving","version":"` + strings.Repeat("v", maxAnnouncement) + `"}`,
	}
	for _, body := range bad {
		publish(t, nc, "phx.fleet.gateway.g9", body)
	}
	publish(t, nc, "phx.fleet.gateway.g9", `{"id":"g9","state":"gone","mood":"good"}`)
	line := "gateway g9 : 0 sockets, 0 channels, 0 topics, 0s behind, gone, at "
	waitFor(t, line, func() bool { return r.count(line) == 1 })
	if n := r.len(); n != 1 {
		t.Errorf("%d announcements were handed over, want one", n)
	}
	if n := b.stats.Dropped[dropAnnouncement].Load(); n != int64(len(bad)) {
		t.Errorf("%d were counted as dropped, want %d", n, len(bad))
	}
}
