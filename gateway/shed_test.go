package gateway

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// watcher is a view with a clock that the test sets.
type watcher struct {
	view
	now time.Time
}

func newWatcher() *watcher {
	now := time.Now()
	return &watcher{newView("own", "v1", 0.2, now), now}
}

// hear has the others say, once a second for so long, that they have so many sockets.
func (w *watcher) hear(d time.Duration, sockets ...int) *watcher {
	for range d / time.Second {
		for i, n := range sockets {
			w.heard(&Status{ID: fmt.Sprint("g", i), Version: "v1", Sockets: n, State: Serving}, w.now)
		}
		w.now = w.now.Add(time.Second)
	}
	return w
}

func (w *watcher) say(s Status) *watcher { w.heard(&s, w.now); return w }

// TestSurplus: what a gateway takes to be more than its share, and when it does not ask.
func TestSurplus(t *testing.T) {
	const s = time.Second
	serving := Status{ID: "g0", Version: "v1", Sockets: 0, State: Serving}
	with := func(change func(*Status)) Status { s := serving; change(&s); return s }
	for name, tc := range map[string]struct {
		w       *watcher
		sockets int
		want    float64
	}{
		"alone":                    {newWatcher().hear(60 * s), 1000, 0},
		"one is empty":             {newWatcher().hear(60*s, 0), 1000, 400},
		"two are empty":            {newWatcher().hear(60*s, 0, 0), 3000, 1800},
		"within the tolerance":     {newWatcher().hear(60*s, 900), 1300, 0},
		"above it":                 {newWatcher().hear(60*s, 900), 1400, 20},
		"less than others":         {newWatcher().hear(60*s, 1000), 0, 0},
		"chance does as much":      {newWatcher().hear(60*s, 10), 22, 0},
		"not for long enough":      {newWatcher().hear(settleTime-s, 0), 1000, 0},
		"itself is no neighbour":   {newWatcher().hear(60 * s).say(Status{ID: "own", Version: "v1", State: Serving}), 1000, 0},
		"one drains":               {newWatcher().hear(60*s, 0, 0).say(with(func(s *Status) { s.State = Draining })).hear(0), 1000, 0},
		"one has gone":             {newWatcher().hear(60*s, 0, 0).say(with(func(s *Status) { s.State = Gone })), 1000, 0},
		"one has gone, long since": {newWatcher().hear(60*s, 0, 0).say(Status{ID: "g1", State: Gone}).hear(60*s, 0), 1000, 400},
		"one is silent":            {newWatcher().hear(60*s, 0, 0).hear(6*s, 0), 1000, 0},
		"one is new":               {newWatcher().hear(60*s, 0).hear(10*s, 0, 0), 1000, 0},
		"another version":          {newWatcher().hear(60*s, 0).say(with(func(s *Status) { s.Version = "v2" })), 1000, 0},
	} {
		if got := tc.w.surplus(tc.sockets, tc.w.now); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	w := newWatcher().hear(60*s, 0)
	w.troubled(w.now)
	if got := w.hear(10*s, 0).surplus(1000, w.now); got != 0 {
		t.Errorf("after trouble with NATS: %v", got)
	}
	if got := w.hear(30*s, 0).surplus(1000, w.now); got != 400 {
		t.Errorf("long after it: %v", got)
	}
}

// TestShedUntilWellWithin: once it sheds, a gateway goes on until it has half of what is tolerated, so that the next client does not make it begin anew.
func TestShedUntilWellWithin(t *testing.T) {
	w := newWatcher().hear(60*time.Second, 5000)
	const fleet = 16_000
	sockets := fleet - 5000
	for began := false; ; {
		w.hear(time.Second, fleet-sockets)
		surplus := w.surplus(sockets, w.now)
		if surplus == 0 {
			if !began {
				t.Fatal("nothing is shed")
			}
			break
		}
		began = true
		sockets -= int(surplus/shedTime.Seconds()) + 1
	}
	if want := fleet / 2 * 11 / 10; sockets > want || sockets < want-200 {
		t.Errorf("it ends with %d sockets, want %d", sockets, want)
	}
	if w.hear(time.Second, fleet-sockets-1).surplus(sockets+1, w.now) != 0 {
		t.Error("one more socket makes it shed again")
	}
}

// fakeFleet notes what is announced.
type fakeFleet struct{ said chan Status }

func (f *fakeFleet) Announce(s *Status) error {
	select {
	case f.said <- *s:
	default:
	}
	return nil
}

// TestShed: a gateway with all the sockets of a fleet of two sheds what is too much, one after the other, with 1012; it says how it is all the while, and goes with a last word.
func TestShed(t *testing.T) {
	const sockets = 200
	f := &fakeFleet{make(chan Status, 1000)}
	l, _ := newTestLoop(t, func(cfg *Config) { cfg.Fleet, cfg.Version, cfg.ShedTolerance = f, "v1", 0.2 })
	srv := l.srv
	for range sockets {
		openSocket(l, keeping(), phx.V2)
		srv.stats.sockets.add(1)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln, 100*time.Millisecond) }()
	other := func() int64 {
		srv.Announced(&Status{ID: "g2", Version: "v1", State: Serving})
		srv.fleet.mu.Lock()
		defer srv.fleet.mu.Unlock()
		srv.fleet.view.settled = time.Time{} // as if all had been quiet
		return srv.stats.sockets.load()
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	var after time.Duration
	for began := time.Now(); other() > sockets-10; <-poll.C {
		if after = time.Since(began); after > 20*time.Second {
			t.Fatalf("%d of %d sockets are left", srv.stats.sockets.load(), sockets)
		}
	}
	// Of 200, 100 are the mean, 30 more would be tolerated: 70 in 30 s, to begin with.
	if after < 2*time.Second {
		t.Errorf("ten sockets were shed within %v", after)
	}
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if n := srv.stats.socketsEnded.n[causeShed].load(); n < 10 || n > 20 {
		t.Errorf("%d sockets ended as shed", n)
	}
	close(f.said)
	var states []State
	for s := range f.said {
		if s.ID != "g1" || s.Version != "v1" || s.Lag < 0 {
			t.Errorf("announced %+v", s)
		}
		if len(states) == 0 || states[len(states)-1] != s.State {
			states = append(states, s.State)
		}
	}
	if got := fmt.Sprint(states); got != "[serving draining gone]" && got != "[serving gone]" {
		t.Errorf("announced %v", states)
	}
}
