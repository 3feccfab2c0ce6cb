package presence

import (
	"errors"
	"testing"
	"time"
)

// alive answers pings as the gateways of incarnations do; of others nobody listens.
func alive(incarnations ...string) func(string, ToGateway) (any, error) {
	return func(gateway string, _ ToGateway) (any, error) {
		for _, in := range incarnations {
			if gatewayOf(in) == gateway {
				return Pong{Incarnation: in}, nil
			}
		}
		return nil, ErrNoResponders
	}
}

func TestLostGateway(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.register("g2=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.answer = alive("g1=a", "g2=a")
	d.pass(time.Minute)
	d.wantSent("diff room:1 0-3-3 +1 -0")
	d.answer = alive("g2=a")
	d.pass(silentAfter + 2*pingEvery)
	d.wantSent("remove g1=a at 1 lost", "lost g1", "purge g1=a", "diff room:1 3-4-4 +0 -1", "left room:1 e1")
	d.pass(time.Minute)
	d.wantSent()
}

// TestVerdictNeedsTheStream: where the bucket cannot be reached it is rather this replica that is cut off.
func TestVerdictNeedsTheStream(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.reach = func() error { return errors.New("no leader") }
	d.pass(20 * time.Second)
	d.wantSent()
	d.reach = nil
	d.pass(pingEvery)
	d.wantSent("remove g1=a at 1 lost", "lost g1", "purge g1=a")
}

// TestVerdictAsksOnceMore: a gateway that answers at the last moment lives.
func TestVerdictAsksOnceMore(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.reach = func() error { d.answer = alive("g1=a"); return nil }
	d.pass(20 * time.Second)
	d.wantSent()
}

// TestVerdictFallsWithTheConnection: this replica's own connection came back while the verdict was confirmed, and the gateway's did not yet.
func TestVerdictFallsWithTheConnection(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.reach = func() error { d.reach = nil; d.s.Reconnected(); return nil }
	d.pass(silentAfter + pingEvery)
	d.wantSent("sync 64")
	d.answer = alive("g1=a")
	d.pass(20 * time.Second)
	d.wantSent()
}

// TestVerdictOfAnother: another replica was first.
func TestVerdictOfAnother(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.remove = func() error {
		d.record(Record{Incarnation: "g1=a", Op: OpLost})
		return errors.New("wrong last sequence")
	}
	d.pass(20 * time.Second)
	d.wantSent("remove g1=a at 1 lost")
}

// TestVerdictOfAnOldRegistration: the registration changed since it was loaded, so that what is removed is the one that is judged.
func TestVerdictOfAnOldRegistration(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.register("g1=a", Registration{})
	d.pass(silentAfter + 2*pingEvery)
	d.wantSent("remove g1=a at 2 lost", "lost g1", "purge g1=a")
}

func TestDrainedGateway(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.register("g1=a", Registration{Draining: true, Linger: 5000})
	d.answer = alive("g1=a")
	d.pass(time.Minute)
	d.wantSent("diff room:1 0-2-2 +1 -0")
	d.answer = nil
	d.pass(4 * time.Second)
	d.wantSent()
	d.pass(2 * time.Second)
	d.wantSent("remove g1=a at 3 gone", "purge g1=a", "diff room:1 2-4-4 +0 -1")
}

func TestRestartedGateway(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.register("g1=b", Registration{})
	d.answer = alive("g1=b")
	d.pass(2 * pingEvery)
	d.wantSent("remove g1=a at 1 lost", "lost g1", "purge g1=a")
}

// TestFrozenJudge: after a pause of its own it has heard nobody for long, which is nobody's fault.
func TestFrozenJudge(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.register("g2=a", Registration{})
	d.register("g3=a", Registration{})
	d.answer = func(_ string, m ToGateway) (any, error) { return nil, ErrTimeout }
	d.pass(3 * time.Second)
	d.now = d.now.Add(time.Minute)
	d.pass(massHungAfter - time.Second)
	d.wantSent()
}

// TestOnlyOneJudge: who does not own partition 0 asks and decides nothing.
func TestOnlyOneJudge(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	d.s.owned[0] = false
	for range 100 {
		d.now = d.now.Add(pingEvery)
		d.s.sit()
		d.work()
	}
	d.wantSent()
}

func TestServiceHello(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	hello := func(in string) {
		d.s.Hello(mustJSON(Hello{Gateway: gatewayOf(in), Incarnation: in}))
		d.work()
	}
	for _, bad := range []string{"", "[]", `{"gateway":"g1"}`, `{"incarnation":"g1=a"}`} {
		d.s.Hello([]byte(bad))
	}
	for range 10 {
		hello("g1=a")
		d.now = d.now.Add(time.Second)
	}
	d.wantSent()
	hello("g1=b")
	d.wantSent()
	d.now = d.now.Add(unknownAfter)
	hello("g1=b")
	d.wantSent("reset g1=b")
	hello("g2=a") // registered meanwhile: the log was behind
	d.register("g2=a", Registration{})
	d.now = d.now.Add(unknownAfter)
	hello("g2=a")
	d.wantSent()
}

// TestStrangers: what an incarnation wrote that is not registered is not seen, and removed in time.
func TestStrangers(t *testing.T) {
	d := newDesk(t, 0)
	d.put("g9=x", "e1", "room:1", "ann")
	d.pass(strangersAfter - 2*time.Second)
	d.wantSent()
	d.pass(4 * time.Second)
	d.wantSent("purge g9=x")
	d.pass(2 * strangersAfter)
	d.wantSent()
	if d.s.state.Topic("room:1") != nil {
		t.Error("the stranger's topic is held for ever")
	}
}
