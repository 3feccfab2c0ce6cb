package nats

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// linkState says whether joins wait for a server.
//
//	hoped ──answers──▶ proven      every state ──connection lost, no answer in time──▶ silent
//	  ▲                  ▲
//	  └─connected again──┴─answers── silent
type linkState uint8

const (
	linkSilent linkState = iota // joins go on without it
	linkHoped                   // there is, or soon will be, a connection: joins wait for it
	linkProven                  // it answered
)

// probeLink is the connection to one other server. All of it is guarded by prober.mu.
type probeLink struct {
	url     string
	subject string

	conn      *natsgo.Conn // nil until made, and where the URL leads to a server that needs no link
	connected bool
	server    string // id of the server, as of the last connection
	state     linkState
	asked     uint64 // the last round that was sent
	answered  uint64 // the last round that came back

	// The first and the last round that ended without it; 0: none that matters any more. What they confirmed may have missed messages published at this server.
	leftOut, leftOutLast uint64
	// The last rounds that had begun when an attempt to connect failed, of the last two attempts.
	failed [2]uint64
}

// startedAnew forgets rounds that ended without a server which was not there yet: of the last attempt to reach it nobody knows whether it had started meanwhile, but the one
// before failed before that. Nobody can have published there then, and what it was told of subscriptions since it learned all at once.
func (l *probeLink) startedAnew() {
	if l.leftOut = max(l.leftOut, l.failed[0]+1); l.leftOut > l.leftOutLast {
		l.leftOut = 0
	}
}

// leadsTo reports whether the link is to the server of an id.
func (l *probeLink) leadsTo(server string) bool {
	return l.conn != nil && l.server != "" && l.server == server
}

// refresh keeps a link to every server that the main connection knows of. It is called when it learns of servers, and now and then.
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
		if !urls[u] && l.conn != nil {
			p.wait.Go(l.conn.Close)
			delete(p.links, u)
		}
	}
	for u := range urls {
		l := p.links[u]
		if l == nil {
			p.made++
			l = &probeLink{url: u, subject: p.b.subjects.Probe(p.b.gatewayID, strconv.Itoa(p.made)), state: linkHoped}
			p.links[u] = l
		}
		if l.conn == nil {
			p.wait.Go(func() { p.connect(l) })
		}
	}
}

// restart is called when the main connection comes up. Whatever was confirmed before has a gap by that. Joins wait for every server anew, the one that the main
// connection was at included: a link may be about to come back as the main connection has.
func (p *prober) restart() {
	own := p.b.nc().ConnectedServerId()
	p.mu.Lock()
	p.own, p.seen[own] = own, true
	for _, l := range p.links {
		l.state, l.leftOut = linkHoped, 0
		if conn := l.conn; conn != nil && !l.connected && !p.closed {
			p.wait.Go(func() {
				if conn.IsReconnecting() {
					_ = conn.ForceReconnect() // at once; it fails only on a closed connection
				}
			})
		}
	}
	p.mu.Unlock()
	signal(p.wake)
	p.refresh()
}

// connect makes the link's connection, which comes and goes by itself from then on.
func (p *prober) connect(l *probeLink) {
	cfg := p.cfg
	cfg.URL, cfg.Name = withUser(l.url, p.cfg.URL), cfg.Name+"/probe"
	ready := make(chan struct{}) // closed when the handlers may run
	defer close(ready)
	up := func(nc *natsgo.Conn) { <-ready; p.cameUp(l, nc) }
	conn, err := cfg.connect(natsgo.IgnoreDiscoveredServers(), natsgo.CustomReconnectDelay(linkDelay), natsgo.ConnectHandler(up), natsgo.ReconnectHandler(up),
		natsgo.DisconnectErrHandler(func(nc *natsgo.Conn, _ error) { <-ready; p.lost(l, nc) }),
		natsgo.ReconnectErrHandler(func(nc *natsgo.Conn, err error) { <-ready; p.notReached(l, nc, err) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
			p.b.log.Warn("NATS probe", "url", l.url, "err", err)
		}))
	if err == nil {
		if _, err = conn.Subscribe(l.subject, func(m *natsgo.Msg) { p.came(l, m) }); err != nil {
			conn.Close()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil: // of the settings: a server that is not there is waited for
		p.b.log.Warn("NATS probe: no connection", "url", l.url, "err", err)
		l.state = linkSilent
		signal(p.arrived)
	case p.closed || l.conn != nil || p.links[l.url] != l:
		p.wait.Go(conn.Close)
	default:
		l.conn = conn
	}
}

// linkDelay is how long nats.go waits between attempts to connect a link: short for a server that restarts, longer for one that is out of reach.
func linkDelay(attempts int) time.Duration {
	return min(time.Duration(attempts)*reconnectWait, linkDelayMax) + rand.N(reconnectJitter)
}

const linkDelayMax = time.Second

// cameUp handles a link's new connection: it is closed if its server has a link by another name or is the main connection's.
func (p *prober) cameUp(l *probeLink, conn *natsgo.Conn) {
	id := conn.ConnectedServerId()
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.conn != conn || p.closed {
		return // not wanted any more
	}
	needed := id != p.own
	for _, o := range p.links {
		needed = needed && (o == l || !o.leadsTo(id))
	}
	if needed {
		l.connected, l.server, l.state = true, id, linkHoped
		if l.leftOut > 0 && !p.seen[id] {
			l.startedAnew()
		}
		p.seen[id] = true
		signal(p.wake)
	} else {
		l.conn, l.connected, l.state, l.leftOut = nil, false, linkSilent, 0
		p.wait.Go(conn.Close)
	}
	signal(p.arrived)
}

// lost handles the loss of a link's connection.
func (p *prober) lost(l *probeLink, conn *natsgo.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.conn == conn {
		l.connected, l.state = false, linkSilent
		signal(p.arrived)
	}
}

// notReached handles an attempt to connect that failed. Joins do not wait for a server on which nobody listens.
func (p *prober) notReached(l *probeLink, conn *natsgo.Conn, err error) {
	p.b.log.Debug("NATS probe: no connection", "url", l.url, "err", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.conn != conn {
		return
	}
	l.failed[0], l.failed[1] = l.failed[1], p.rounds
	if errors.Is(err, syscall.ECONNREFUSED) {
		l.state = linkSilent
		signal(p.arrived)
	}
}

// stop closes all links and waits until nothing of them goes on.
func (p *prober) stop() {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.links {
		if l.conn != nil {
			p.wait.Go(l.conn.Close)
		}
	}
	p.mu.Unlock()
	p.wait.Wait()
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
