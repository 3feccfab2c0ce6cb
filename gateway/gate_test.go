package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// gateRun is a gate with a clock that the test sets, and the names of those that passed, in order.
type gateRun struct {
	*gate
	t      *testing.T
	now    time.Duration
	passes []string
	in     map[string]*waiter
}

func newGateRun(t *testing.T, limits gateLimits, room func(int) bool) *gateRun {
	r := &gateRun{t: t, now: time.Hour, in: map[string]*waiter{}}
	if limits.most == 0 {
		limits.most, limits.mostFromAddress = 1000, 1000
	}
	r.gate = newGate(limits, func() time.Duration { return r.now }, room)
	return r
}

// put has a waiter of an address enter, and returns what became of it.
func (r *gateRun) put(name, addr string) string {
	w := &waiter{done: func(l lack) {
		if l == lacksNothing {
			r.under-- // as begun does, and its loop is quick
		} else {
			name += ": " + lackNames[l]
		}
		r.passes = append(r.passes, name)
	}}
	lacks, waits := r.enter(netip.MustParseAddr(addr), w)
	if r.in[name] = w; waits {
		return "waits: " + lackNames[lacks]
	}
	if lacks != lacksNothing {
		return "refused: " + lackNames[lacks]
	}
	return "passes"
}

func (r *gateRun) want(got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s, want %s", got, want)
	}
}

// after lets time pass, ten milliseconds at a time.
func (r *gateRun) after(d time.Duration) {
	for ; d > 0; d -= gateStep {
		r.now += gateStep
		r.step()
	}
}

func (r *gateRun) wantPassed(names ...string) {
	r.t.Helper()
	if fmt.Sprint(r.passes) != fmt.Sprint(names) {
		r.t.Errorf("passed: %v, want %v", r.passes, names)
	}
	r.passes = nil
}

func (r *gateRun) wantEmpty() {
	r.t.Helper()
	if r.waiting != 0 || r.ready.n != 0 || len(r.blocked) != 0 || r.ready.first != nil || r.ready.last != nil {
		r.t.Errorf("%d wait, %d ready, %d addresses blocked; want nothing", r.waiting, r.ready.n, len(r.blocked))
	}
}

func TestGateRate(t *testing.T) {
	r := newGateRun(t, gateLimits{perSecond: 10}, nil) // one at a time: the burst is less
	r.want(r.put("a", "1.1.1.1"), "passes")
	for _, name := range []string{"b", "c", "d"} {
		r.want(r.put(name, "1.1.1.1"), "waits: rate")
	}
	r.after(80 * time.Millisecond)
	r.wantPassed()
	r.after(30 * time.Millisecond)
	r.wantPassed("b")
	r.abandon(r.in["c"])
	r.after(120 * time.Millisecond)
	r.wantPassed("d")
	r.wantEmpty()
	r.after(time.Second)
	r.want(r.put("e", "1.1.1.1"), "passes") // an idle second is no reserve
	r.want(r.put("f", "1.1.1.1"), "waits: rate")
}

// TestGateIsFlat: whatever comes, what passes in any tenth of a second is the rate and, once, the burst.
func TestGateIsFlat(t *testing.T) {
	const perSecond = 1000
	r := newGateRun(t, gateLimits{perSecond: perSecond, most: 20_000}, nil)
	passed := 0
	for n := range 5000 {
		if r.put(fmt.Sprint(n), "1.1.1.1") == "passes" {
			passed++
		}
	}
	if passed > perSecond/20+10 {
		t.Errorf("%d of 5000 at once passed at once", passed)
	}
	for tenth := range 49 {
		r.after(100 * time.Millisecond)
		if n := len(r.passes); n < perSecond/10-1 || n > perSecond/10+1 {
			t.Fatalf("%d passed in tenth %d", n, tenth)
		}
		r.passes = nil
	}
	r.after(time.Second)
	r.wantEmpty()
}

// TestGateOfAddresses: one that is above its limits holds up nobody else, and takes nothing of the gateway's rate meanwhile.
func TestGateOfAddresses(t *testing.T) {
	r := newGateRun(t, gateLimits{perSecond: 100, addressPerSecond: 2}, nil)
	r.want(r.put("a1", "1.1.1.1"), "passes")
	r.want(r.put("a2", "1.1.1.1"), "passes")
	r.want(r.put("a3", "1.1.1.1"), "waits: address_rate")
	r.want(r.put("a4", "1.1.1.1"), "waits: address_rate")
	for i := range 4 {
		r.want(r.put(fmt.Sprint("b", i), fmt.Sprint("2.2.2.", i)), "passes")
	}
	r.want(r.put("c", "3.3.3.3"), "waits: rate")
	r.after(20 * time.Millisecond)
	r.wantPassed("c")
	r.after(500 * time.Millisecond)
	r.wantPassed("a3")
	r.want(r.put("a5", "1.1.1.1"), "waits: address_rate")
	r.after(time.Second)
	r.wantPassed("a4", "a5")
	r.wantEmpty()

	// With IPv6 it is the network's.
	r.want(r.put("v6-1", "2001:db8::1"), "passes")
	r.want(r.put("v6-2", "2001:db8::2"), "passes")
	r.want(r.put("v6-3", "2001:db8::ffff:0:3"), "waits: address_rate")
	r.want(r.put("v6-other", "2001:db8:0:1::1"), "passes")
	r.after(3 * time.Second)
	if len(r.addresses) == 0 {
		t.Fatal("no address is remembered")
	}
	if r.sweep(); len(r.addresses) != 0 {
		t.Errorf("%d addresses are remembered for no reason", len(r.addresses))
	}
}

// TestGateOfConnections: of the gateway and of an address; a place that becomes free is the next one's.
func TestGateOfConnections(t *testing.T) {
	open, limit := 0, 3
	r := newGateRun(t, gateLimits{addressCount: 2}, func(waiting int) bool { return open-waiting <= limit })
	put := func(name, addr string) string { open++; return r.put(name, addr) }
	r.want(put("a1", "1.1.1.1"), "passes")
	r.want(put("a2", "1.1.1.1"), "passes")
	r.want(put("a3", "1.1.1.1"), "waits: address_connections")
	r.want(put("b", "2.2.2.2"), "passes")
	r.want(put("c", "3.3.3.3"), "waits: connections")
	r.after(time.Second)
	r.wantPassed()
	r.leave(netip.MustParseAddr("1.1.1.1")) // a1
	open--
	r.after(10 * time.Millisecond)
	r.wantPassed("c") // a3 may go on as far as its address is concerned, and is behind c
	r.want(put("a4", "1.1.1.1"), "waits: address_connections")
	r.abandon(r.in["a3"])
	open--
	r.after(10 * time.Millisecond)
	r.wantPassed()
	r.abandon(r.in["c"]) // passed, and its connection is gone
	open--
	r.after(10 * time.Millisecond)
	r.wantPassed("a4")
	r.wantEmpty()
	for _, addr := range []string{"1.1.1.1", "1.1.1.1", "2.2.2.2"} {
		r.leave(netip.MustParseAddr(addr))
	}
	if r.sweep(); len(r.addresses) != 0 {
		t.Errorf("%d addresses are remembered when all connections are gone", len(r.addresses))
	}
}

// TestGateHold: what has waited for so long is refused for what it lacks then, also where it went from one queue to the other.
func TestGateHold(t *testing.T) {
	room := false
	r := newGateRun(t, gateLimits{perSecond: 5, addressPerSecond: 4, addressCount: 6, hold: 2 * time.Second}, func(int) bool { return room })
	for _, name := range []string{"a1", "a2", "a3", "a4"} {
		r.want(r.put(name, "1.1.1.1"), "waits: connections")
	}
	r.want(r.put("a5", "1.1.1.1"), "waits: address_rate")
	r.want(r.put("b", "2.2.2.2"), "waits: connections")
	r.abandon(r.in["a2"])
	r.after(time.Second)
	r.wantPassed()
	r.want(r.put("c", "3.3.3.3"), "waits: connections")
	for _, name := range []string{"a6", "a7"} {
		r.want(r.put(name, "1.1.1.1"), "waits: connections")
	}
	r.want(r.put("a8", "1.1.1.1"), "waits: address_connections")
	room = true
	r.after(10 * time.Millisecond)
	r.wantPassed("a1")
	room = false
	r.after(900 * time.Millisecond)
	r.wantPassed()
	r.after(100 * time.Millisecond)
	r.wantPassed("a3: connections", "a4: connections", "a5: connections", "b: connections")
	r.after(time.Second)
	r.wantPassed("c: connections", "a6: connections", "a7: connections", "a8: connections")
	r.wantEmpty()
	if len(r.held) != 0 || r.addresses[netip.MustParseAddr("1.1.1.1")].count != 1 {
		t.Errorf("%d are kept, %d counted; want none, and a1", len(r.held), r.addresses[netip.MustParseAddr("1.1.1.1")].count)
	}
}

// TestGateBounds: no more wait than may, of one address fewer; and what would have to wait too long does not.
func TestGateBounds(t *testing.T) {
	r := newGateRun(t, gateLimits{addressPerSecond: 1, most: 4, mostFromAddress: 2}, nil)
	r.want(r.put("a0", "1.1.1.1"), "passes")
	r.want(r.put("a1", "1.1.1.1"), "waits: address_rate")
	r.want(r.put("a2", "1.1.1.1"), "waits: address_rate")
	r.want(r.put("a3", "1.1.1.1"), "refused: queue_full")
	for _, addr := range []string{"2.2.2.2", "3.3.3.3"} {
		r.want(r.put(addr, addr), "passes")
		r.want(r.put(addr+" again", addr), "waits: address_rate")
	}
	r.want(r.put("d", "4.4.4.4"), "passes")
	r.want(r.put("d again", "4.4.4.4"), "refused: queue_full")

	r = newGateRun(t, gateLimits{perSecond: 10, longest: 500 * time.Millisecond}, nil)
	r.want(r.put("0", "1.1.1.1"), "passes")
	for n := 1; n <= 6; n++ {
		r.want(r.put(fmt.Sprint(n), "1.1.1.1"), "waits: rate")
	}
	r.want(r.put("7", "1.1.1.1"), "refused: rate")
	r.after(110 * time.Millisecond)
	r.want(r.put("8", "1.1.1.1"), "waits: rate")
}

// TestGateOfALateLoop: what a loop has not come to counts against the burst, and the time is not made up for: what is behind the gate would see it all at once.
func TestGateOfALateLoop(t *testing.T) {
	now, passes := time.Hour, 0
	g := newGate(gateLimits{perSecond: 100, most: 1000}, func() time.Duration { return now }, nil)
	for range 200 {
		g.enter(netip.MustParseAddr("1.1.1.1"), &waiter{done: func(lack) { passes++ }})
	}
	after := func(d time.Duration) int {
		passes = 0
		for ; d > 0; d -= gateStep {
			now += gateStep
			g.step()
		}
		return passes
	}
	burst := int(g.rate.burst)
	if n := after(time.Second); n != burst && n != burst+1 {
		t.Errorf("%d passed while the loop came to none, want the burst of %d", n, burst)
	}
	for g.under > 0 {
		g.begun()
	}
	if n := after(50 * time.Millisecond); n > 2*burst {
		t.Errorf("%d passed in 50 ms after the loop came back", n)
	}
}
