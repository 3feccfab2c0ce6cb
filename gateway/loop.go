package gateway

import (
	"bufio"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// tick is a loop's time: tenths of a second since the server was made. Nothing about a socket needs it finer.
type tick uint32

const tickLength = 100 * time.Millisecond

// Sizes of a loop's own buffers, shared by all its sockets.
const (
	scratchBytes = 64 << 10
	gatherBytes  = 64 << 10
)

// scanTicks is over how many ticks a loop looks at each of its sockets once.
const scanTicks = 5

// loop owns sockets: it reads them, runs their channels, and writes them. One goroutine runs it and touches its fields; others send mail.
type loop struct {
	srv     *Server
	id      int
	poller  *poller
	mailbox *mailbox
	stats   *stats
	now     tick

	slots []*socket // by slot number; nil where free
	free  []uint32  // free slot numbers
	gens  []uint32  // generation of each slot
	ids   map[string]*socket

	dirty       []*socket  // sockets with something to write this turn
	dirtyTopics []*topic   // topics with broadcasts to fan out this turn
	work        int        // bytes of those broadcasts, counted for each member
	unblocked   int        // cost of writing this turn to sockets that had been blocked
	outboxes    []*outbox  // empty ones
	held        int        // bytes that wait in outboxes, what is shared counted once
	heldSaid    int        // of held, counted in Server.outboundBytes
	spares      []*pending // empty ones
	spare       []mail     // the slice that the mailbox gets back

	heavy      []*pending // whose broadcasts wait for their round; the first is next
	heavyBytes int        // of their frames, each once
	round      []*socket  // still to be written to in this round
	roundSpare []*socket  // the slice that round is the rest of

	excluded map[*channel][]int // during one fan-out: which of the broadcasts must not go to a member
	draining map[*channel]tick  // channels whose socket is gone and that still have events, with their deadline
	gaps     map[tick][]gapped

	asks     []JoinAsk // for the authorizer, not handed over yet
	params   keptParams
	rechecks rechecks

	lingering map[*socket][]lingering // what may be over before PRESENCE_LINGER
	traces    map[*socket]Trace       // of connect requests that had a trace context

	scratch    []byte // what was read
	gather     []byte // frames that are written together
	headReader *bufio.Reader
	inflater   inflater
	decoded    phx.Message
	event      Event  // what is being handed to the bus
	payload    []byte // of a broadcast with keys that its rule sets

	stopping bool
}

func newLoop(srv *Server, id int) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("loop %d: %w", id, err)
	}
	l := &loop{
		srv: srv, id: id, poller: p, mailbox: newMailbox(p.wake), stats: srv.stats, now: srv.tick(),
		ids: map[string]*socket{}, excluded: map[*channel][]int{}, draining: map[*channel]tick{}, gaps: map[tick][]gapped{},
		lingering: map[*socket][]lingering{}, traces: map[*socket]Trace{},
		scratch: make([]byte, scratchBytes), gather: make([]byte, gatherBytes), headReader: newHeadReader(),
	}
	l.params.init(srv)
	l.rechecks.since = map[*channel]tick{}
	return l, nil
}

// run is a loop's life. A turn: empty the mailbox, fan out, write, read what is ready, write.
func (l *loop) run() {
	defer l.poller.close()
	for !l.stopping {
		got := l.mailbox.take(l.spare)
		for i, m := range got {
			got[i] = nil
			m.deliver(l)
			if l.work > turnWork {
				l.endTurn(false)
			}
		}
		l.spare = got
		if idle := l.endTurn(l.mailbox.sleep()); !idle {
			runtime.Gosched() // on few processors, the bus's goroutines must not wait for the end of a time slice
		}
	}
	l.mailbox.stop()
}

// turnWork is how many bytes of broadcasts, counted for each member, a turn takes before it writes and reads: many topics together must not keep other sockets waiting.
// Usual loads stay far below it, so that they coalesce as much as they can.
const turnWork = 32 << 20

// endTurn fans out and writes what the mail brought, then reads what is ready. park: wait for something, since there is no mail. It reports whether all is written.
func (l *loop) endTurn(park bool) (idle bool) {
	l.work, l.unblocked = 0, 0
	l.askAuthorizer()
	l.flushTopics()
	l.flushSockets()
	idle = l.flushHeavy()
	l.shedDebtors()
	n, err := l.poller.wait(park && idle)
	if err != nil {
		// The poller is this loop's own descriptor: it fails only if this program closed it by mistake, and then nothing of the loop works.
		panic(fmt.Sprintf("loop %d: poller: %v", l.id, err))
	}
	for i := range n {
		l.ready(l.poller.at(i))
	}
	l.flushSockets()
	return idle
}

// ready handles one event of the poller.
func (l *loop) ready(r ready) {
	if r.token == wakeToken {
		l.poller.woken()
		return
	}
	slot, gen := uint32(r.token), uint32(r.token>>32)
	s := l.slots[slot]
	if s == nil || s.gen != gen {
		return // it ended earlier in this turn
	}
	if r.writable && l.unblocked < sliceWork { // else the poller says so again next turn
		l.unblocked += l.flushCost(s)
	}
	if r.readable && s.state != gone {
		l.readable(s)
	}
}

// tickMail moves a loop's time on.
type tickMail tick

func (t tickMail) deliver(l *loop) {
	l.now = tick(t)
	step := len(l.slots)/scanTicks + 1
	from := int(l.now%scanTicks) * step
	for i := from; i < min(from+step, len(l.slots)); i++ {
		if s := l.slots[i]; s != nil {
			l.checkTime(s)
		}
	}
	for ch, deadline := range l.draining {
		if l.now >= deadline {
			l.stats.dropped.add(droppedDrainTimeout, ch.more.waiting.n)
			l.endChannel(ch, ch.more.reason)
		}
	}
	l.tickGaps()
	l.tickRechecks()
}

// checkTime ends what is over.
func (l *loop) checkTime(s *socket) {
	if s.deadline != 0 && l.now >= s.deadline {
		switch s.state {
		case introducing, handshaking, held, connecting:
			l.abort(s, causeHandshake)
			return
		case closing:
			l.discard(s, true)
			return
		case open:
			if s.expires != 0 && l.now >= s.expires {
				l.closeSocket(s, causeExpired)
				return
			}
			l.expireChannels(s)
		}
	}
	if s.state != open {
		return
	}
	if s.retires != 0 && l.now >= s.retires && l.srv.pace.Allow() {
		l.closeSocket(s, causeMaxAge)
		return
	}
	idle := ticks(l.srv.cfg.IdleTimeout)
	if l.now-s.lastRead > idle || s.in != nil && l.now-s.in.since > idle {
		l.closeSocket(s, causeIdle)
		return
	}
	if quiet := l.now - s.lastRead; quiet >= quietTicks && quiet < quietTicks+scanTicks {
		l.quiet(s)
	}
}

// ticks is a duration in ticks, at least one.
func ticks(d time.Duration) tick { return max(tick((d+tickLength-1)/tickLength), 1) }

// after is the tick that a duration from now ends in.
func (l *loop) after(d time.Duration) tick { return l.now + ticks(d) }

// at is the tick of a point in time, never 0.
func (l *loop) at(t time.Time) tick {
	d := time.Until(t)
	if d <= 0 {
		return max(l.now, 1)
	}
	if d > 10*365*24*time.Hour {
		return ^tick(0)
	}
	return l.after(d)
}

// adopt makes a socket of a transport. peer is the other side of the TCP connection.
func (l *loop) adopt(tr transport, fd int, peer netip.Addr) *socket {
	var slot uint32
	if n := len(l.free); n > 0 {
		slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		slot = uint32(len(l.slots))
		l.slots = append(l.slots, nil)
		l.gens = append(l.gens, 0)
	}
	l.gens[slot]++
	s := &socket{loop: l, tr: tr, slot: slot, gen: l.gens[slot], fd: int32(fd), state: handshaking, peer: peer, lastRead: l.now, deadline: l.after(headTimeout)}
	if l.srv.cfg.expectsProxyHeader(peer) {
		s.state = introducing
	}
	l.slots[slot] = s
	return s
}

// lookup finds a socket by slot and generation; nil if it is gone.
func (l *loop) lookup(slot, gen uint32) *socket {
	if int(slot) >= len(l.slots) {
		return nil
	}
	if s := l.slots[slot]; s != nil && s.gen == gen {
		return s
	}
	return nil
}

// setID makes the socket addressable.
func (l *loop) setID(s *socket, id string) {
	if id == "" {
		return
	}
	s.id = id
	s.nextSameID = l.ids[id]
	l.ids[id] = s
}
