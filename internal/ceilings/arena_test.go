//go:build linux

package ceilings

import (
	"os"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// channelRules are those of every gateway here.
const channelRules = `channels:
  - {topic: "healthy:*", join: allow, on_gap: ignore}
  - {topic: "silent:*", join: authz}
  - topic: "room:*"
    join: allow
    events:
      - {event: "*", do: call, timeout: 60s}
`

// How long the healthy clients measure before, and at least during, the press.
const (
	measureBefore = 1200 * time.Millisecond
	measureDuring = 1500 * time.Millisecond
)

// arena is one limit's run: a NATS server, a gateway, the healthy clients, and what they found.
type arena struct {
	*gateway
	*ceilings
	t       *testing.T
	natsURL string
	nats    *natsgo.Conn
	healthy *healthy
	row     row
}

// arena starts everything. The settings are NAME=value.
func (c *ceilings) arena(t *testing.T, limit string, settings ...string) *arena {
	t.Helper()
	a := &arena{ceilings: c, t: t, natsURL: phxtest.StartNATS(t), row: row{limit: limit}}
	a.gateway = startGateway(t, c.binary, a.natsURL, channelRules, settings...)
	a.nats = a.connectNATS()
	a.healthy = startHealthy(t, a.addr, a.nats)
	return a
}

// connectNATS makes a connection that ends with the test.
func (a *arena) connectNATS() *natsgo.Conn {
	a.t.Helper()
	nc, err := natsgo.Connect(a.natsURL, natsgo.Timeout(2*phxtest.Patience()))
	if err != nil {
		a.t.Fatalf("NATS: %v", err)
	}
	a.t.Cleanup(nc.Close)
	return nc
}

// press measures the healthy clients first without and then with what run does, and adds the figures to the table.
func (a *arena) press(sockets int, run func()) {
	a.t.Helper()
	a.row.sockets = sockets
	before, during := new(window), new(window)
	a.healthy.measure(before)
	<-time.After(measureBefore)
	a.row.rssBefore, _ = a.memory(a.t)
	a.healthy.measure(during)
	least, from := time.After(measureDuring), a.cpu(a.t)
	run()
	<-least
	used := a.cpu(a.t)
	a.healthy.measure(nil)
	a.row.cpu, a.row.foreign = used.gateway-from.gateway, used.foreign(from)
	a.row.before, a.row.during = a.healthy.settle(before), a.healthy.settle(during)
}

// verdict fails the test where the gateway occupied more than bound bytes at any time, or the healthy clients were served worse than docs of this package allow.
func (a *arena) verdict(bound int64) {
	a.t.Helper()
	a.mustLive(a.t)
	a.memoryVerdict(bound)
	a.wantLatency("heartbeat", a.row.before.heartbeat, a.row.during.heartbeat)
	a.wantLatency("broadcast", a.row.before.broadcast, a.row.during.broadcast)
	if n := a.row.before.lost + a.row.during.lost; n > 0 {
		a.t.Errorf("healthy clients: %d broadcasts never came", n)
	}
	a.wantAnswers()
}

// wantAnswers fails where a heartbeat was not answered.
func (a *arena) wantAnswers() {
	a.t.Helper()
	if n := a.row.before.unanswered + a.row.during.unanswered; n > 0 {
		a.t.Errorf("healthy clients: %d heartbeats were never answered", n)
	}
}

// memoryVerdict is the part about memory; the row goes into the table.
func (a *arena) memoryVerdict(bound int64) {
	a.t.Helper()
	_, a.row.rssMax = a.memory(a.t)
	a.row.rssBound = bound
	a.rows = append(a.rows, a.row)
	if a.row.rssMax > bound {
		a.t.Errorf("resident memory: %s at most, want no more than %s", mib(a.row.rssMax), mib(bound))
	}
}

// busyMachine is the share of the machine above which others make the healthy clients' times meaningless. Times are judged only where somebody asked for it
// (CEILINGS=full) and the machine is theirs; else the figures stand in the table and do not fail the test.
const busyMachine = 0.25

// wantLatency compares a percentile with what it was before.
func (a *arena) wantLatency(what string, before, during time.Duration) {
	a.t.Helper()
	a.wantBelow(what, before, during, max(3*before, before+phxtest.Scaled(50*time.Millisecond)))
}

// wantBelow compares a percentile with a bound.
func (a *arena) wantBelow(what string, before, during, bound time.Duration) {
	a.t.Helper()
	if during == 0 {
		a.t.Errorf("healthy clients: no %s at all", what)
	} else if during > bound {
		report := a.t.Errorf
		if os.Getenv("CEILINGS") != "full" || a.row.foreign > busyMachine {
			report = a.t.Logf
		}
		report("healthy clients: %s p99 %v, before %v; want no more than %v; others took %.0f%% of the machine", what, during, before, bound, 100*a.row.foreign)
	}
}
