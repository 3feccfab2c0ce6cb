package nemesis

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// fault is one way to break the fleet.
type fault struct {
	kind  string
	what  string // with the parts it hits
	hold  time.Duration
	begin func()
	heal  func()
}

// faultKinds are drawn from one after the other, shuffled, so that a long run has each equally often.
var faultKinds = []func(*fleet, *rand.Rand) fault{killGateway, stopGateway, killServer, stopServer, cutGateway, stallGateway, cutLink}

// nemesisFaults are the faults of the nemesis of messages.
var nemesisFaults = append(append([]func(*fleet, *rand.Rand) fault{}, faultKinds...), flood)

// between is a random duration.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return (least + time.Duration(rng.Int64N(int64(most-least)))).Round(time.Millisecond)
}

func killGateway(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(gatewayCount)
	return fault{
		kind: "kill gateway", what: fmt.Sprintf("gateway %d", i), hold: between(rng, 200*time.Millisecond, 3*time.Second),
		begin: f.gateways[i].kill, heal: func() { f.startGateway(i) },
	}
}

func stopGateway(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(gatewayCount)
	return fault{
		kind: "stop gateway", what: fmt.Sprintf("gateway %d", i), hold: between(rng, 2*time.Second, 6*time.Second),
		begin: func() { f.gateways[i].signal(syscall.SIGSTOP) }, heal: func() { f.gateways[i].signal(syscall.SIGCONT) },
	}
}

func killServer(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(serverCount)
	return fault{
		kind: "kill NATS", what: fmt.Sprintf("NATS server %d", i), hold: between(rng, 200*time.Millisecond, 3*time.Second),
		begin: f.servers[i].kill, heal: func() { f.startServer(i) },
	}
}

func stopServer(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(serverCount)
	return fault{
		kind: "stop NATS", what: fmt.Sprintf("NATS server %d", i), hold: between(rng, 2*time.Second, 6*time.Second),
		begin: func() { f.servers[i].signal(syscall.SIGSTOP) }, heal: func() { f.servers[i].signal(syscall.SIGCONT) },
	}
}

// cutGateway cuts a gateway off from every NATS server.
func cutGateway(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(gatewayCount)
	return fault{
		kind: "cut gateway", what: fmt.Sprintf("gateway %d", i), hold: between(rng, 200*time.Millisecond, 5*time.Second),
		begin: func() { f.setLinks(i, linkCut) }, heal: func() { f.setLinks(i, linkOpen) },
	}
}

// stallGateway lets nothing pass between a gateway and NATS; longer than some seconds, and the gateway notices (its ping goes unanswered).
func stallGateway(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(gatewayCount)
	return fault{
		kind: "stall gateway", what: fmt.Sprintf("gateway %d", i), hold: between(rng, time.Second, 9*time.Second),
		begin: func() { f.setLinks(i, linkStalled) }, heal: func() { f.setLinks(i, linkOpen) },
	}
}

// cutLink cuts one link for a moment; the gateway may go to another server.
func cutLink(f *fleet, rng *rand.Rand) fault {
	i, s := rng.IntN(gatewayCount), rng.IntN(serverCount)
	return fault{
		kind: "cut link", what: fmt.Sprintf("gateway %d to NATS server %d", i, s), hold: between(rng, 10*time.Millisecond, 2*time.Second),
		begin: func() { f.links[i][s].set(linkCut) }, heal: func() { f.links[i][s].set(linkOpen) },
	}
}

const floodKind = "flood"

// flood sends every gateway more than its inbox holds.
func flood(f *fleet, rng *rand.Rand) fault {
	i, stop := rng.IntN(serverCount), make(chan struct{})
	var over sync.WaitGroup
	return fault{
		kind: floodKind, what: fmt.Sprintf("by way of NATS server %d", i), hold: between(rng, 200*time.Millisecond, time.Second),
		begin: func() { over.Go(func() { f.floods[i](stop) }) }, heal: func() { close(stop); over.Wait() },
	}
}

func (f *fleet) setLinks(gateway int, state linkState) {
	for _, link := range f.links[gateway] {
		link.set(state)
	}
}
