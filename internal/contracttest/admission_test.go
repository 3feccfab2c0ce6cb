package contracttest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// answer is what a handshake was answered, and how long after all began.
type answer struct {
	status     int
	retryAfter string
	after      time.Duration
}

// knock makes n handshakes at once.
func knock(t *testing.T, g *gateway, n int, headers ...string) (answers []answer) {
	answers = make([]answer, n)
	var all sync.WaitGroup
	start := time.Now()
	for i := range n {
		all.Go(func() {
			status, _, header, err := handshake(g, "/socket/websocket?vsn=2.0.0", headers...)
			if err != nil {
				t.Errorf("handshake %d: %v", i, err)
				return
			}
			answers[i] = answer{status, header.Get("Retry-After"), time.Since(start)}
		})
	}
	all.Wait()
	return answers
}

// wantHeld wants that at least so many were let in, no more than the rate allows, and that the others were refused when they had been held.
func wantHeld(t *testing.T, answers []answer, atLeast int, rate float64) {
	t.Helper()
	in, last := 0, time.Duration(0)
	for _, a := range answers {
		last = max(last, a.after)
		switch {
		case a.status == http.StatusSwitchingProtocols:
			in++
		case a.status == http.StatusServiceUnavailable:
			if n, err := strconv.Atoi(a.retryAfter); err != nil || n < 1 || n > 30 {
				t.Errorf("Retry-After %q", a.retryAfter)
			}
			if a.after < 1900*time.Millisecond {
				t.Errorf("refused after %v, want 2 s", a.after)
			}
		default:
			t.Errorf("status %d", a.status)
		}
	}
	if last > phxtest.Scaled(4*time.Second) {
		t.Errorf("the last answer came after %v", last)
	}
	if atMost := int(rate*(last.Seconds()+1)) + 1; in < atLeast || in > atMost {
		t.Errorf("%d of %d were let in within %v, want %d to %d", in, len(answers), last, atLeast, atMost)
	}
}

// Beyond the gateway's rate handshakes are held, then refused.
func TestUpgradesPerSecond(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "GATEWAY_UPGRADES_PER_SECOND=20", "CONNECT_AUTH=authz")
	b.answer("phx.authz.connect", `{"allow":true}`)
	wantHeld(t, knock(t, g, 120), 20, 20)
	if refused, held := g.count(t, `phxgate_admission_handshakes_refused_total{lacks="rate"}`), g.count(t, `phxgate_admission_held_total{what="handshake"}`); refused < 20 || held < 80 {
		t.Errorf("metrics: %d refused, %d held", refused, held)
	}
	if n := g.count(t, "phxgate_handshakes_waiting"); n != 0 {
		t.Errorf("%d still wait", n)
	}
	// What can be served in time waits, and is not refused.
	wantHeld(t, knock(t, g, 20), 20, 20)
}

// An address has a rate and a number of connections of its own; X-Forwarded-For of a trusted proxy, and a PROXY header, say whose they are.
func TestAddressLimits(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "ADDRESS_UPGRADES_PER_SECOND=4", "TRUSTED_PROXIES=127.0.0.1")
	var greedy []answer
	var knocking sync.WaitGroup
	knocking.Go(func() { greedy = knock(t, g, 30, "X-Forwarded-For", "192.0.2.1") })
	waitFor(t, "the greedy one's handshakes", func() bool { return g.count(t, "phxgate_handshakes_waiting") > 20 })
	for i := range 10 {
		start := time.Now()
		if status, _, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0", "X-Forwarded-For", fmt.Sprint("192.0.2.", 10+i)); status != 101 || time.Since(start) > phxtest.Scaled(1500*time.Millisecond) {
			t.Errorf("another address: %d after %v", status, time.Since(start))
		}
	}
	knocking.Wait()
	wantHeld(t, greedy, 8, 4)

	g, _ = setup(t, everything, "ADDRESS_CONNECTIONS=2", "TRUSTED_PROXIES=127.0.0.1", "PROXY_PROTOCOL=true")
	dial := func(client string) *phxtest.Client {
		return g.dial(t, through("PROXY TCP4 "+client+" 10.0.0.1 1234 4000\r\n", 100))
	}
	first := dial("192.0.2.1")
	dial("192.0.2.1")
	dial("192.0.2.2").Heartbeat()
	start := time.Now()
	phxtest.WantRefused(t, g.url("vsn=2.0.0"), 503, through("PROXY TCP4 192.0.2.1 10.0.0.1 1234 4000\r\n", 100))
	if held := time.Since(start); held < 1900*time.Millisecond {
		t.Errorf("refused after %v: it was not held", held)
	}
	if n := g.count(t, `phxgate_admission_handshakes_refused_total{lacks="address_connections"}`); n != 1 {
		t.Errorf("%d refused, want one", n)
	}
	third := make(chan struct{})
	go func() {
		defer close(third)
		waitFor(t, "a held handshake", func() bool { return g.count(t, "phxgate_handshakes_waiting") == 1 })
		first.Close(1001)
	}()
	dial("192.0.2.1").Heartbeat() // held until there is a place
	<-third
}

// A gateway that is full holds who comes, and lets him in when somebody goes.
func TestMaxConnectionsHeld(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "MAX_CONNECTIONS=2")
	one, two := g.dial(t), g.dial(t)
	wantHeld(t, knock(t, g, 1), 0, 0.01)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		waitFor(t, "a held handshake", func() bool { return g.count(t, "phxgate_handshakes_waiting") == 1 })
		one.Close(1001)
	}()
	start := time.Now()
	g.dial(t).Heartbeat()
	<-gone
	if took := time.Since(start); took > phxtest.Scaled(2*time.Second) {
		t.Errorf("let in after %v", took)
	}
	two.Heartbeat()
}

// Joins beyond the rate wait, and nothing else does; those that would wait too long are refused at once.
func TestJoinsPerSecond(t *testing.T) {
	t.Parallel()
	g, b := setup(t, `channels:
  - {topic: "free:*", join: allow, events: [{event: "*", do: call}]}
  - {topic: "*", events: [{event: "*", do: call}]}
`, "GATEWAY_JOINS_PER_SECOND=20", "MAX_CHANNELS_PER_SOCKET=1000")
	var mu sync.Mutex
	var asked []time.Time
	b.serve("phx.authz.join", func(msg *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, time.Now())
		reply(msg, `{"status":"ok"}`)
	})
	b.answer("phx.event.>", `{}`)
	c := g.dial(t)
	c.Join("free:1", struct{}{})
	const joins, most = 300, 20*5 + 10
	start := time.Now()
	refs := map[string]string{}
	for i := range joins {
		topic := fmt.Sprint("room:", i)
		refs[c.StartJoin(topic, struct{}{})] = topic
	}
	ok, refused := 0, 0
	take := func(ref string, m phxtest.Message) {
		switch {
		case refs[ref] == "":
			t.Errorf("%+v", m)
		case m.Status == "ok":
			ok++
		default:
			wantJSON(t, "refusal", m.Payload, `{"reason":"overloaded"}`)
			refused++
			if took := time.Since(start); took > phxtest.Scaled(time.Second) {
				t.Errorf("refused after %v, want at once", took)
			}
		}
		delete(refs, ref)
	}
	recv := func(until string) { // "": until all joins are answered
		for until != "" || len(refs) > 0 {
			m, err := phxtest.ParseMessage(c.Recv(2 * phxtest.Patience()))
			if err != nil {
				t.Fatal(err)
			}
			ref, _ := m.Ref.(string)
			if ref == until {
				return
			}
			take(ref, m)
		}
	}
	recv(c.Push("phoenix", "heartbeat", struct{}{}))
	recv(c.Push("free:1", "ask", struct{}{}))
	if took := time.Since(start); took > phxtest.Scaled(time.Second) {
		t.Errorf("a heartbeat and an event were answered after %v", took)
	}
	if waiting := g.count(t, "phxgate_joins_waiting"); waiting < 50 || waiting > most {
		t.Errorf("%d joins wait", waiting)
	}
	recv("")
	if ok < 90 || ok > most || refused != joins-ok {
		t.Errorf("%d joins were answered ok, %d refused; want about 100, and the others", ok, refused)
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range asked {
		n := 0
		for _, at := range asked[i:] {
			if at.Sub(asked[i]) < 2*time.Second {
				n++
			}
		}
		if n > 40*5/4 { // what this process is late with comes together
			t.Fatalf("authz was asked %d times within two seconds from %v on, want at most 40", n, asked[i].Sub(start))
		}
	}
	if n := g.count(t, `phxgate_admission_joins_refused_total{lacks="rate"}`); n != refused {
		t.Errorf("metrics: %d refused, want %d", n, refused)
	}
}

// One address's joins wait, or are told that they are too many; others' go on.
func TestAddressJoinsPerSecond(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "ADDRESS_JOINS_PER_SECOND=2", "TRUSTED_PROXIES=127.0.0.1")
	greedy, other := g.dial(t, phxtest.Header("X-Forwarded-For", "192.0.2.1")), g.dial(t, phxtest.Header("X-Forwarded-For", "192.0.2.2"))
	var refs []string
	for i := range 20 {
		refs = append(refs, greedy.StartJoin(fmt.Sprint("room:", i), struct{}{}))
	}
	wantError(t, greedy, refs[len(refs)-1], "rate limited")
	start := time.Now()
	other.Join("room:1", struct{}{})
	if took := time.Since(start); took > phxtest.Scaled(time.Second) {
		t.Errorf("another address's join took %v", took)
	}
	// A leave behind a join that waits: the join is decided first, and answered; then the channel is gone.
	greedy.Push("room:5", "phx_leave", struct{}{})
	greedy.WantUntil(fmt.Sprintf(`[%q,%[1]q,"room:5","phx_close",{}]`, refs[5]))
}
