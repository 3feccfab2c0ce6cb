package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	// loadBefore is how long a round publishes before its fault.
	loadBefore = time.Second
	// linkDelay is how long a gateway's connection to a NATS server that is there again may take to be tried.
	linkDelay = 1100 * time.Millisecond
	// afterGap is how long a gap may take to be told once NATS is there again: the gateway's pause between two gaps, its spread, and some slack.
	afterGap = linkDelay + time.Second + gapSpread + 500*time.Millisecond
)

// recoveryLimit is how long the fleet may take to be whole again after a fault is healed.
func recoveryLimit() time.Duration { return phxtest.Scaled(5 * time.Second) }

// startLimit is how long each part of a fleet may take to be there: the machine may be busy building.
func startLimit() time.Duration { return phxtest.Scaled(20 * time.Second) }

// run is one test's.
type run struct {
	t        *testing.T
	ctx      context.Context
	fleet    *fleet
	ledger   *ledger
	crowd    *crowd
	backends []*backend
	figures  figures
}

func TestNemesis(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	seed := setting(t, "NEMESIS_SEED", rand.Uint64N(1_000_000))
	seconds := setting(t, "NEMESIS_SECONDS", 60)
	t.Logf("NEMESIS_SEED=%d NEMESIS_SECONDS=%d", seed, seconds)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	r := &run{t: t, ctx: ctx, fleet: startFleet(t, channelRules, "NATS_INBOX_BYTES=262144"), ledger: newLedger(), figures: figures{recoveries: map[string][]time.Duration{}}}
	for i := range serverCount {
		r.backends = append(r.backends, startBackend(t, r.ledger, i, r.fleet.serverURL(i), phxtest.Scaled(25*time.Millisecond), seed))
	}
	var welcomes []func(int)
	for _, b := range r.backends {
		welcomes = append(welcomes, b.welcome)
		r.fleet.floods = append(r.fleet.floods, b.flood)
	}
	r.crowd = newCrowd(r.ledger, r.fleet.addrs[:], seed, phxtest.Scaled(2*time.Second), welcomes)
	t.Cleanup(r.crowd.end)
	waitUntil(t, "the clients are joined", startLimit(), r.whole)

	rng := rand.New(rand.NewPCG(seed, 0))
	var kinds []int
	for begun := time.Now(); time.Since(begun) < time.Duration(seconds)*time.Second && !t.Failed(); {
		if len(kinds) == 0 {
			kinds = rng.Perm(len(nemesisFaults))
		}
		if f := nemesisFaults[kinds[0]](r.fleet, rng); wanted(f.kind) {
			r.round(f)
		}
		kinds = kinds[1:]
	}
	if r.figures.recoveries[floodKind] != nil && r.figures.overflows == 0 {
		t.Error("no flood made an inbox overflow: they show nothing")
	}
	c := r.crowd
	t.Logf("NEMESIS_SEED=%d: %v", seed, &r.figures)
	t.Logf("%d joins, %d gaps told, %d pushes refused, joins refused %v, %d messages late", c.joins.Load(), c.gapsTold.Load(), c.refusals.Load(), c.reasons, c.late.Load())
}

// wanted reports whether faults of a kind happen: NEMESIS_FAULTS names those that do, separated by commas; all where it is not set.
func wanted(kind string) bool {
	only := os.Getenv("NEMESIS_FAULTS")
	return only == "" || slices.Contains(strings.Split(only, ","), kind)
}

// setting is a whole number of the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// round lets one fault happen, has the fleet recover and balances the books.
func (r *run) round(f fault) {
	r.t.Helper()
	r.ledger.turn()
	r.crowd.turn()
	for _, b := range r.backends {
		b.turn()
	}
	overflows := r.overflows()
	told, joins := r.crowd.gapsTold.Load(), r.crowd.joins.Load()
	r.load(true)
	pause(r.ctx, loadBefore)

	r.crowd.goHome.Store(false)
	a := auditor{fault: time.Now()}
	f.begin()
	pause(r.ctx, f.hold)
	r.crowd.roaming.Store(false) // from now on each topic that a client lacks is one it was thrown out of
	f.heal()
	a.healed = time.Now()
	recovered := r.recover(f, a.healed)
	books := r.settle(f, a)
	for _, note := range r.crowd.takeNotes() {
		r.fail(f, note)
	}
	r.fleet.wantAlive()
	r.figures.add(f.kind, recovered, books, r.overflows()-overflows)
	r.t.Logf("%s %s: %s for %v: recovered in %v; %d published, %d received, %d excused, %d joins, %d gaps told", a.fault.Format("15:04:05.000"), f.kind, f.what, f.hold,
		recovered.Round(time.Millisecond), books.published, books.received, books.excused, r.crowd.joins.Load()-joins, r.crowd.gapsTold.Load()-told)
}

// load turns publishing and moving about on or off.
func (r *run) load(on bool) {
	r.crowd.publishing.Store(on)
	r.crowd.roaming.Store(on)
	r.crowd.goHome.Store(on)
	r.crowd.scouting.Store(on)
	for _, b := range r.backends {
		b.publishing.Store(on)
	}
}

// whole reports whether every gateway is ready, every client has what it wants, and what is published at a NATS server gets everywhere.
func (r *run) whole() bool {
	for i := range gatewayCount {
		if !r.fleet.ready(i) {
			return false
		}
	}
	for _, b := range r.backends {
		if !b.isWhole(serverCount) {
			return false
		}
	}
	return r.crowd.unsettled(false) == ""
}

// recover waits until the fleet is whole and no gap is left to be told, publishing all the while, and returns how long after the healing it was whole for good.
func (r *run) recover(f fault, healed time.Time) time.Duration {
	r.t.Helper()
	var since time.Time // it is whole since; zero if it is not
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for now := time.Now(); ; now = <-poll.C {
		switch {
		case !r.whole():
			since = time.Time{}
		case since.IsZero():
			since = now
		}
		if !since.IsZero() && now.Sub(healed) > afterGap && now.Sub(since) > loadBefore/2 {
			return since.Sub(healed)
		}
		if since.IsZero() && now.Sub(healed) > recoveryLimit()+afterGap {
			r.fail(f, fmt.Sprintf("not whole %v after the healing: %s", now.Sub(healed).Round(time.Millisecond), r.crowd.unsettled(false)))
			return now.Sub(healed)
		}
	}
}

// settle stops the publishers, probes every NATS server, and waits until every client has what it is owed.
func (r *run) settle(f fault, a auditor) *audit {
	r.t.Helper()
	r.load(false)
	deadline := time.Now().Add(recoveryLimit())
	probed := true
	for _, b := range r.backends {
		probed = b.probe() && probed
	}
	if !probed {
		r.fail(f, "a probe was not published")
	}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		lacks := r.crowd.unsettled(true)
		books := a.audit(r.ledger)
		if lacks == "" && len(books.findings) == 0 {
			break
		}
		if time.Now().After(deadline) {
			if lacks != "" {
				r.fail(f, lacks)
			}
			for _, finding := range books.findings {
				r.fail(f, finding)
			}
			r.fail(f, fmt.Sprintf("%d deliveries are missing", books.missing))
			return books
		}
		<-poll.C
	}
	return a.audit(r.ledger)
}

func (r *run) fail(f fault, what string) {
	r.t.Helper()
	r.t.Errorf("after %s (%s, %v): %s", f.kind, f.what, f.hold, what)
}
