package nats

import (
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/planted"
)

// A PONG proves that a subscription is in force at the server this gateway is connected to, and at no other of a cluster: interest travels to them by itself, and
// in a lab 7% of the publishes made elsewhere right after the PONG passed it by. But what a server sends to another one arrives in order. So the prober keeps a light
// connection to every other server, each with a static subscription of its own; a message to it, published behind a SUB on the main connection, shows on arrival
// that its server has the SUB. One round of such messages covers all SUBs before it, in parallel to what else a join waits for. (It does not hold across
// superclusters, where interest and messages take different connections.)

// Times of probing.
const (
	probeTimeout  = 250 * time.Millisecond // how long a join may be held up by a server that does not answer
	proveInterval = 50 * time.Millisecond  // between probes of a server that has not answered yet, or any more
	retryInterval = 15 * time.Second       // between attempts to reach a server that could not be reached
)

// prober knows the other servers of the cluster. Its methods are called by the bus: refresh by nats.go's handlers, round by the confirming goroutine alone.
type prober struct {
	b   *Bus
	cfg ConnConfig

	rounds  uint64        // owned by round
	arrived chan struct{} // some probe came back; never closed
	wake    chan struct{} // some link changed; never closed

	mu     sync.Mutex
	links  map[string]*probeLink // by URL
	made   int                   // links there ever were: their subjects differ
	closed bool
	wait   sync.WaitGroup // goroutines that connect
}

// probeLink is the connection to one other server.
type probeLink struct {
	url     string
	subject string

	conn     atomic.Pointer[natsgo.Conn] // nil while connecting the first time, and where the URL leads to a server that needs no link
	proven   atomic.Bool                 // answered the last probe: joins wait for it
	answered atomic.Uint64               // the last round that came back
}

func newProber(b *Bus, cfg ConnConfig) *prober {
	return &prober{b: b, cfg: cfg, arrived: make(chan struct{}, 1), wake: make(chan struct{}, 1), links: map[string]*probeLink{}}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// refresh keeps a link to every server that the main connection knows of. It is called when the main connection comes up and when it learns of servers.
func (p *prober) refresh() {
	urls := map[string]bool{}
	for _, u := range p.b.nc().Servers() {
		urls[u] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(urls) < 2 || p.cfg.InProcess != nil {
		return
	}
	for u, l := range p.links {
		if conn := l.conn.Load(); !urls[u] && conn != nil {
			conn.Close()
			delete(p.links, u)
		}
	}
	for u := range urls {
		l := p.links[u]
		if l == nil {
			p.made++
			l = &probeLink{url: u, subject: p.b.subjects.Probe(p.b.gatewayID, strconv.Itoa(p.made))}
			p.links[u] = l
		} else if l.conn.Load() != nil {
			continue
		}
		p.wait.Go(func() { p.connect(l) })
	}
}

// connect opens the link, unless its URL leads to a server that has one or is the main connection's.
func (p *prober) connect(l *probeLink) {
	cfg := p.cfg
	cfg.URL, cfg.Name = withUser(l.url, p.cfg.URL), cfg.Name+"/probe"
	conn, err := cfg.connect(natsgo.IgnoreDiscoveredServers(), natsgo.RetryOnFailedConnect(false),
		natsgo.DisconnectErrHandler(func(*natsgo.Conn, error) { l.proven.Store(false) }),
		natsgo.ReconnectHandler(func(*natsgo.Conn) { signal(p.wake) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
			p.b.log.Warn("NATS probe", "url", l.url, "err", err)
		}))
	if err != nil {
		// It may be down, or out of this gateway's reach. When it comes up the cluster tells of it again.
		p.b.log.Debug("NATS probe: no connection", "url", l.url, "err", err)
		return
	}
	if _, err := conn.Subscribe(l.subject, func(m *natsgo.Msg) { p.came(l, m) }); err != nil {
		p.b.log.Warn("NATS probe: subscribe", "subject", l.subject, "err", err)
		conn.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := conn.ConnectedServerId()
	needed := !p.closed && id != p.b.nc().ConnectedServerId() && l.conn.Load() == nil && p.links[l.url] == l
	for _, o := range p.links {
		if c := o.conn.Load(); o != l && c != nil && c.ConnectedServerId() == id {
			needed = false // another name of the same server
		}
	}
	if !needed {
		conn.Close()
		return
	}
	l.conn.Store(conn)
	signal(p.wake)
}

// withUser gives a server's URL, which nats.go tells without one, the user of the first URL of a list.
func withUser(one, list string) string {
	first, _, _ := strings.Cut(list, ",")
	from, err := url.Parse(strings.TrimSpace(first))
	if err != nil || from.User == nil {
		return one
	}
	to, err := url.Parse(one)
	if err != nil {
		return one
	}
	to.User = from.User
	return to.String()
}

// came takes a probe that came back.
func (p *prober) came(l *probeLink, m *natsgo.Msg) {
	n, err := strconv.ParseUint(string(m.Data), 10, 64)
	if err != nil {
		return
	}
	if !l.proven.Swap(true) {
		p.b.log.Debug("NATS probe: server answers", "url", l.url)
	}
	if n > l.answered.Load() {
		l.answered.Store(n)
	}
	signal(p.arrived)
}

// needed are the links that count now: connected, and to another server than the main connection.
func (p *prober) needed() (links []*probeLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.b.nc().ConnectedServerId()
	for _, l := range p.links {
		if conn := l.conn.Load(); conn != nil && conn.IsConnected() && conn.ConnectedServerId() != own {
			links = append(links, l)
		}
	}
	return links
}

// send publishes a round's probe on the main connection.
func (p *prober) send(l *probeLink, round uint64) {
	// It fails only where the connection is gone, which ends every join that waits.
	_ = p.b.nc().Publish(l.subject, strconv.AppendUint(nil, round, 10))
}

// begin sends a round to every server that answered the last one, and returns who must answer.
func (p *prober) begin() (round uint64, links []*probeLink) {
	p.rounds++
	for _, l := range p.needed() {
		if l.proven.Load() {
			p.send(l, p.rounds)
			links = append(links, l)
		}
	}
	return p.rounds, links
}

// end waits until all have answered. A server that does not answer in time is not waited for again until it does, which prove finds out.
func (p *prober) end(round uint64, links []*probeLink) {
	if len(links) == 0 || planted.NoProbe {
		return
	}
	timer := time.NewTimer(probeTimeout)
	defer timer.Stop()
	for {
		missing := 0
		for _, l := range links {
			if l.proven.Load() && l.answered.Load() < round {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		select {
		case <-p.arrived:
		case <-p.b.quit:
			return
		case <-timer.C:
			for _, l := range links {
				if l.answered.Load() < round && l.proven.Swap(false) {
					p.b.log.Warn("NATS server does not answer probes: what is published there right after a join may be missed until it does", "url", l.url)
					signal(p.wake)
				}
			}
			return
		}
	}
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
		again := false
		for _, l := range p.needed() {
			if !l.proven.Load() {
				p.send(l, 0)
				again = true
			}
		}
		if again {
			timer.Reset(proveInterval)
		}
	}
}

// stop closes all links.
func (p *prober) stop() {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.links {
		if conn := l.conn.Load(); conn != nil {
			conn.Close()
		}
	}
	p.mu.Unlock()
	p.wait.Wait()
}
