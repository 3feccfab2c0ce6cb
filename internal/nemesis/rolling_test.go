package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/balancer"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	rollingClients  = 600
	rollingRooms    = 60 // twice: each client is in one of the first and one of the second
	rollingGateways = 3

	rollingDrainRate = 60 // sockets closed in a second, and so those that come back
	rollingUpgrades  = 60 // in a second and gateway
	rollingJoins     = 90

	rollingLinger       = 8 * time.Second
	rollingDrainTimeout = 20 * time.Second
)

// rollingRules: each room says who is there, and brings numbered messages.
const rollingRules = `channels:
  - topic: "room:*"
    events:
      - {event: n, do: broadcast, reply: true}
`

// rolling is what the clients of a rolling update saw.
type rolling struct {
	ledger *ledger
	each   []*roller

	publishing atomic.Bool
	rolls      atomic.Bool // everybody is there, and the update has begun
	closes     atomic.Int64

	mu    sync.Mutex // guards notes
	notes []string   // what must not be
}

// roller is what one of them keeps. It is owned by its visitor's goroutine.
type roller struct {
	rosters map[int]*phxtest.Roster
	members map[int]*membership
	streams map[int]*stream
	pushes  map[string]push
	publish time.Time
}

func (r *rolling) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.notes) < findingsShown {
		r.notes = append(r.notes, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// roomsOf are the rooms of a client: those in one room of the first kind are all in different ones of the second.
func roomsOf(client int) []int {
	return []int{client % rollingRooms, rollingRooms + (client/rollingRooms+client)%rollingRooms}
}

// heard takes a message.
func (r *rolling) heard(v *visitor, f *frame) {
	own := r.each[v.number]
	switch f.event {
	case "phx_reply":
		r.replied(v, own, f)
	case "phx_error", "phx_close":
		r.note("client %d: %s on topic %d", v.number, f.event, f.topic)
	case numberedEvent:
		var m number
		if err := json.Unmarshal(f.payload, &m); err != nil {
			r.note("client %d: %v", v.number, err)
		} else if member := own.members[f.topic]; member == nil {
			r.note("client %d received %+v on topic %d without being joined", v.number, m, f.topic)
		} else {
			r.ledger.receive(member, streamID{m.Publisher, m.Epoch, f.topic}, m.N)
		}
	case "presence_state", "presence_diff":
		roster := own.rosters[f.topic]
		if roster == nil {
			return // before the reply
		}
		if err := roster.Take(f.event, f.payload); err != nil {
			r.note("client %d: %v", v.number, err)
		}
		if !r.rolls.Load() {
			return
		}
		if f.event == "presence_diff" {
			r.note("client %d, topic %d: somebody came or went: %.200s", v.number, f.topic, f.payload)
		} else if want := rollingClients / rollingRooms; roster.Len() != want {
			r.note("client %d, topic %d: %d are there when it is back, want %d", v.number, f.topic, roster.Len(), want)
		}
	}
}

// replied handles the reply to a join that went well, or to a message.
func (r *rolling) replied(v *visitor, own *roller, f *frame) {
	if p, ok := own.pushes[f.ref]; ok {
		delete(own.pushes, f.ref)
		if status, reason, err := f.replied(); err != nil || status != "ok" {
			p.stream.settle(p.n, refused)
			r.note("client %d: a message was refused: %s %v", v.number, reason, err)
		} else {
			p.stream.settle(p.n, handed)
		}
		return
	}
	for _, ch := range v.channels {
		if ch.topic == f.topic && ch.state == joined && ch.joinRef == f.ref {
			own.members[ch.topic] = r.ledger.join(v.number, 0, ch.topic)
			own.rosters[ch.topic] = &phxtest.Roster{}
		}
	}
}

// idle publishes now and then.
func (r *rolling) idle(v *visitor, now time.Time) {
	own := r.each[v.number]
	if !r.publishing.Load() || now.Before(own.publish) {
		return
	}
	own.publish = now.Add(phxtest.Scaled(2 * time.Second))
	ch := v.channels[v.lastRef%len(v.channels)]
	if ch.state != joined {
		return
	}
	if own.streams[ch.topic] == nil {
		own.streams[ch.topic] = r.ledger.open(v.number, ch.topic)
	}
	s, ref := own.streams[ch.topic], v.ref()
	n := s.next(pending)
	own.pushes[ref] = push{stream: s, n: n, sent: now}
	v.send(ch, ref, numberedEvent, number{v.number, s.id.epoch, n})
}

// ended: the client knows that it misses what is published from now on, and whether its last messages went out it does not.
func (r *rolling) ended(v *visitor, code ws.StatusCode) {
	own := r.each[v.number]
	for _, m := range own.members {
		m.end(told)
	}
	clear(own.members)
	clear(own.rosters)
	clear(own.streams)
	clear(own.pushes)
	r.closes.Add(1)
	if r.rolls.Load() && code != 1012 {
		r.note("client %d: its socket ended with %d, want 1012", v.number, code)
	}
}

// TestRolling replaces each gateway of three by SIGTERM, while six hundred clients talk through a balancer. All are back with their channels, by themselves; nobody is seen to leave or
// come; the authz service sees no wave above the rates that are set; and what a client has missed was published while it knew that it was not there.
func TestRolling(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	built := builtPrograms()
	if built.err != nil {
		t.Fatal(built.err)
	}
	starter := newStarter(t)
	url := startNATS(t, built, starter)
	authz := startCalls(t, url, true)
	startTracking(t, built, starter, url)
	f := newRollingFleet(t, built, starter, url)
	for i := range rollingGateways {
		f.start(i)
	}
	r := &rolling{ledger: newLedger()}
	for i := range rollingClients {
		r.each = append(r.each, &roller{
			rosters: map[int]*phxtest.Roster{}, members: map[int]*membership{}, streams: map[int]*stream{}, pushes: map[string]push{},
			publish: time.Now().Add(phxtest.Scaled(2*time.Second) * time.Duration(i) / rollingClients),
		})
	}
	vs := &visitors{addr: f.balance(), heard: r.heard, idle: r.idle, ended: r.ended}
	vs.begin(rollingClients, func(n int) (string, []int) { return fmt.Sprint("u", n), roomsOf(n) })
	t.Cleanup(vs.end)
	waitUntil(t, "everybody is joined", 2*startLimit(), func() bool { return vs.missing() == 0 })
	pause(t.Context(), phxtest.Scaled(2*time.Second)) // for the last diffs
	authz.take()
	r.rolls.Store(true)
	r.publishing.Store(true)

	var waves []string
	for i := range rollingGateways {
		f.start(rollingGateways + i)
		old, closed, begun := f.gateways[i], r.closes.Load(), time.Now()
		old.signal(syscall.SIGTERM)
		select {
		case <-old.ended:
		case <-time.After(rollingDrainTimeout + phxtest.Scaled(time.Second)):
			t.Fatalf("gateway %d still runs %v after SIGTERM", i, time.Since(begun))
		}
		if code := old.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("gateway %d ended with status %d", i, code)
		}
		took := time.Since(begun)
		waitUntil(t, "everybody is joined again", phxtest.Scaled(10*time.Second), func() bool { return vs.missing() == 0 })
		connects, joins := authz.take()
		moved := r.closes.Load() - closed
		waves = append(waves, fmt.Sprintf("gateway %d: %d sockets closed, ended after %v, all joined after %v; authz: %d connects, at most %.0f in a second; %d joins, at most %.0f in a second",
			i, moved, took.Round(10*time.Millisecond), time.Since(begun).Round(10*time.Millisecond), len(connects), most(connects, time.Second), len(joins), most(joins, time.Second)))
		// Each closed socket comes back with its channels: the drain's rate is what is to be seen. What a busy machine is late with comes together.
		if peak := most(connects, 2*time.Second); peak > 1.25*rollingDrainRate {
			t.Errorf("gateway %d: %.0f connects a second over two, want at most %d", i, peak, rollingDrainRate)
		}
		if peak, limit := most(joins, 2*time.Second), 1.25*min(rollingGateways*rollingJoins, 2*rollingDrainRate); peak > limit {
			t.Errorf("gateway %d: %.0f joins a second over two, want at most %.0f", i, peak, limit)
		}
		if moved < rollingClients/rollingGateways/2 || len(connects) < int(moved) {
			t.Errorf("gateway %d: %d sockets closed, %d connects", i, moved, len(connects))
		}
	}
	pause(t.Context(), rollingLinger+phxtest.Scaled(3*time.Second)) // what the gateways left is taken away now
	r.publishing.Store(false)
	a := auditor{fault: time.Now(), slack: phxtest.Scaled(time.Second)}
	pause(t.Context(), phxtest.Scaled(time.Second)) // for what is on its way
	books := a.audit(r.ledger)
	r.rolls.Store(false) // what comes now is the test's own end
	vs.end()
	for _, text := range append(r.notes, books.findings...) {
		t.Error(text)
	}
	if books.missing > 0 {
		t.Errorf("%d deliveries are missing", books.missing)
	}
	if books.published < rollingClients {
		t.Errorf("%d messages were published: too few to show anything", books.published)
	}
	for _, wave := range waves {
		t.Log(wave)
	}
	t.Logf("%d clients: %d messages published, %d received, %d not owed to who was away; %d handshakes refused, %d joins refused, %d joins without an answer, %d dials in vain",
		rollingClients, books.published, books.received, books.excused, vs.refusals.Load(), vs.joinErrors.Load(), vs.joinTimeouts.Load(), vs.unreachable.Load())
}

// startTracking runs a presence service.
func startTracking(t *testing.T, built programs, starter *starter, url string) {
	t.Helper()
	p := newProcess(t, starter, "presence service")
	admin := local(freePorts(t, 1)[0])
	p.start(built.presence, nil, "ADMIN_LISTEN="+admin, "NATS_URL="+url, "PRESENCE_STORAGE=memory")
	waitUntil(t, "the presence service is ready", startLimit(), func() bool { return isReady(admin) })
}

// rollingFleet is places for gateways behind a balancer: those of the old ones, and as many for the new.
type rollingFleet struct {
	t             *testing.T
	built         programs
	settings      []string
	addrs, admins []string
	gateways      []*process
}

func newRollingFleet(t *testing.T, built programs, starter *starter, url string) *rollingFleet {
	t.Helper()
	rules := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(rules, []byte(rollingRules), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &rollingFleet{t: t, built: built, settings: []string{
		"NATS_URL=" + url, "CHANNELS_FILE=" + rules, "CONNECT_AUTH=authz", "PRESENCE_LINGER=" + rollingLinger.String(), "DRAIN_TIMEOUT=" + rollingDrainTimeout.String(),
		"DRAIN_SPREAD=2s", "DRAIN_RATE=" + strconv.Itoa(rollingDrainRate), "GATEWAY_UPGRADES_PER_SECOND=" + strconv.Itoa(rollingUpgrades), "GATEWAY_JOINS_PER_SECOND=" + strconv.Itoa(rollingJoins),
	}}
	ports := freePorts(t, 4*rollingGateways)
	for i := range 2 * rollingGateways {
		f.addrs, f.admins = append(f.addrs, local(ports[2*i])), append(f.admins, local(ports[2*i+1]))
		f.gateways = append(f.gateways, newProcess(t, starter, fmt.Sprint("gateway ", i)))
	}
	return f
}

// start starts a gateway in its place and waits until it is ready.
func (f *rollingFleet) start(i int) {
	f.t.Helper()
	f.gateways[i].start(f.built.gateway, nil, append(f.settings, "LISTEN="+f.addrs[i], "ADMIN_LISTEN="+f.admins[i], fmt.Sprint("GATEWAY_ID=g", i))...)
	waitUntil(f.t, fmt.Sprintf("gateway %d is ready", i), startLimit(), func() bool { return isReady(f.admins[i]) })
}

// balance runs a balancer over all places until the test ends and returns its address.
func (f *rollingFleet) balance() string {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- balancer.New(f.addrs, nil).Serve(ctx, ln) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			f.t.Errorf("balancer: %v", err)
		}
	})
	return ln.Addr().String()
}

// isReady reports whether the program with an admin address says that it is.
func isReady(admin string) bool {
	g := lone{admin: admin}
	status, _ := g.get("/readyz")
	return status == 200
}
