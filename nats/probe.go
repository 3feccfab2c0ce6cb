package nats

import (
	"strconv"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/planted"
)

// A PONG proves that a subscription is in force at the server this gateway is connected to, and at no other of a cluster: interest travels to them by itself, and
// in a lab 7% of the publishes made elsewhere right after the PONG passed it by. But what a server sends to another one arrives in order. So the prober keeps a light
// connection to every other server (probelink.go), each with a static subscription of its own; a message to it, published behind a SUB on the main connection, shows
// on arrival that its server has the SUB. One round of such messages covers all SUBs before it, in parallel to what else a join waits for. (It does not hold across
// superclusters, where interest and messages take different connections.)
//
// A round does not wait for ever: a server that does not answer is left out. When it answers again, the topics that were confirmed without it have a gap, since what was
// published there meanwhile may have passed them by.

// Times of probing.
const (
	probeTimeout  = 250 * time.Millisecond // how long a join may be held up by a server that does not answer
	probeSteps    = 5                      // in which that time is counted: of a time in which this process itself was stopped, one step counts
	proveInterval = 50 * time.Millisecond  // between probes of a server that has not answered yet, or any more
	retryInterval = 15 * time.Second       // between looks whether two URLs still lead to the same server
)

// prober knows the other servers of the cluster. Its methods are called by the bus: refresh and restart by nats.go's handlers, begin and end by the confirming
// goroutine alone.
type prober struct {
	b   *Bus
	cfg ConnConfig

	arrived chan struct{} // a probe came back, or a link changed; never closed
	wake    chan struct{} // a link changed, or must be asked again; never closed

	// mu guards what follows, and the links. Nothing is asked of a link's connection while it is held: nats.go keeps a connection locked while it dials, which may take seconds.
	mu     sync.Mutex
	own    string          // id of the main connection's server
	seen   map[string]bool // ids of all servers there were connections to: a server has a new one each time it starts
	rounds uint64          // begun
	links  map[string]*probeLink
	made   int // links there ever were: their subjects differ
	closed bool
	wait   sync.WaitGroup // goroutines that connect and close
}

func newProber(b *Bus, cfg ConnConfig) *prober {
	return &prober{b: b, cfg: cfg, arrived: make(chan struct{}, 1), wake: make(chan struct{}, 1), links: map[string]*probeLink{}, seen: map[string]bool{}}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// begin starts a round for subscriptions that wait to be confirmed.
func (p *prober) begin(waiting []confirmation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rounds++
	p.b.mu.Lock()
	for _, c := range waiting {
		c.round = p.rounds
	}
	p.b.mu.Unlock()
	p.ask()
}

// ask sends the round's probe to every server that is waited for and was not asked yet, and reports how many have not answered. p.mu is held.
func (p *prober) ask() (missing int) {
	for _, l := range p.links {
		if l.state == linkSilent || l.answered >= p.rounds || l.leadsTo(p.own) || planted.NoProbe {
			continue
		}
		missing++
		if l.asked < p.rounds && l.connected {
			l.asked = p.rounds
			p.send(l)
		}
	}
	return missing
}

// send publishes a probe on the main connection. p.mu is held.
func (p *prober) send(l *probeLink) {
	// It fails only where the connection is gone, which ends every join that waits.
	_ = p.b.nc().Publish(l.subject, strconv.AppendUint(nil, p.rounds, 10))
}

// end waits until all have answered the round, and goes on without those that do not in time.
func (p *prober) end() {
	step := time.NewTicker(probeTimeout / probeSteps)
	defer step.Stop()
	for steps := 0; ; {
		p.mu.Lock()
		missing := p.ask()
		if missing == 0 || steps == probeSteps {
			p.leaveOut()
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		select {
		case <-p.arrived:
		case <-step.C:
			steps++
		case <-p.b.quit:
			return
		}
	}
}

// leaveOut ends a round without the servers that have not answered it. p.mu is held.
func (p *prober) leaveOut() {
	for _, l := range p.links {
		if l.answered >= p.rounds || l.conn == nil && l.state == linkSilent || l.leadsTo(p.own) {
			continue
		}
		if l.leftOut == 0 {
			l.leftOut = p.rounds
		}
		l.leftOutLast = p.rounds
		if l.state != linkSilent && !planted.NoProbe {
			l.state = linkSilent
			p.b.log.Warn("NATS server does not answer probes: joins go on without it, and rejoin when it does", "url", l.url)
			signal(p.wake)
		}
	}
}

// came takes a probe that came back. Where rounds ended without this server, their topics have a gap now.
func (p *prober) came(l *probeLink, m *natsgo.Msg) {
	n, err := strconv.ParseUint(string(m.Data), 10, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	if l.state != linkProven {
		p.b.log.Debug("NATS probe: server answers", "url", l.url)
	}
	l.state = linkProven
	l.answered = max(l.answered, n)
	var missed []string
	if l.leftOut > 0 && n >= l.leftOutLast {
		missed = p.b.confirmedSince(l.leftOut)
		l.leftOut = 0
	}
	p.mu.Unlock()
	if len(missed) > 0 && !planted.NoProbe {
		p.b.log.Info("NATS server answers again: a gap of topics that were joined meanwhile", "url", l.url, "topics", len(missed))
		p.b.gaps.add(false, missed, nil)
	}
	signal(p.arrived)
}

// confirmedSince returns the topics whose last round is this one or a later one.
func (b *Bus) confirmedSince(round uint64) (topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.topics {
		if s.round >= round {
			topics = append(topics, s.topic)
		}
	}
	return topics
}

// prove is the goroutine that asks servers which have not answered yet, or any more, whether they do.
func (p *prober) prove() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	for {
		select {
		case <-p.wake:
		case <-timer.C:
		case <-retry.C:
			p.refresh()
		case <-p.b.quit:
			p.stop()
			return
		}
		if p.askUnproven() {
			timer.Reset(proveInterval)
		}
	}
}

// askUnproven probes those servers and reports whether there are any.
func (p *prober) askUnproven() (some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		if l.connected && (l.state != linkProven || l.leftOut > 0) && !l.leadsTo(p.own) {
			p.send(l)
			some = true
		}
	}
	return some
}
