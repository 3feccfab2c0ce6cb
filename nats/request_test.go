package nats

import (
	"errors"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// answered is what a call came to.
type answered struct {
	answer *gateway.Answer
	err    error
	after  time.Duration
}

// ask starts a call.
func ask(t testing.TB, b *Bus, event string, timeout time.Duration) <-chan answered {
	t.Helper()
	results := make(chan answered, 2) // room for a second answer, which must not come
	began := time.Now()
	err := b.Call(&gateway.Event{Topic: "room:a", Name: event, Channel: "g1.a.b", Payload: []byte(`{}`)}, timeout, func(a *gateway.Answer, err error) {
		results <- answered{a, err, time.Since(began)}
	})
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	return results
}

func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b, _ := startBus(t, url)
	nc := backend(t, url)
	silent := listen(t, nc, "phx.event.ask.>")
	// The long one first: a shorter timeout must not wait behind it.
	long := ask(t, b, "ask", 300*time.Millisecond)
	short := ask(t, b, "ask", 50*time.Millisecond)
	for _, c := range []struct {
		results <-chan answered
		timeout time.Duration
	}{{short, 50 * time.Millisecond}, {long, 300 * time.Millisecond}} {
		got := within(t, "the end of a call", c.results)
		if got.err != gateway.ErrTimeout || got.after < c.timeout || got.after > c.timeout+phxtest.Scaled(time.Second) {
			t.Errorf("timeout %v: %v after %v", c.timeout, got.err, got.after)
		}
	}
	// Late answers are dropped and counted; a request that came after shows that they were seen.
	publish(t, nc, next(t, silent).Reply, `{"late":true}`)
	publish(t, nc, next(t, silent).Reply, `{"late":true}`)
	third := ask(t, b, "ask", time.Minute)
	m := next(t, silent)
	publish(t, nc, m.Reply, `{"n":1}`)
	publish(t, nc, m.Reply, `{"n":2}`)
	if got := within(t, "the answer", third); got.err != nil || string(got.answer.Payload) != `{"n":1}` {
		t.Errorf("answer %+v, %v", got.answer, got.err)
	}
	waitFor(t, "two late answers and a second one", func() bool {
		return b.stats.Dropped[dropLateAnswer].Load() == 2 && b.stats.Dropped[dropSecondAnswer].Load() == 1
	})
	if len(long)+len(short)+len(third) != 0 {
		t.Error("a call was answered twice")
	}
	if n := len(b.requests.waiting); n != 0 {
		t.Errorf("%d requests still wait", n)
	}
}

func TestRequestWithoutResponder(t *testing.T) {
	t.Parallel()
	b, _ := startBus(t, phxtest.StartNATS(t))
	if got := within(t, "the answer", ask(t, b, "ask", time.Minute)); got.err != gateway.ErrNoBackend || got.after > phxtest.Patience() {
		t.Errorf("%v after %v, want ErrNoBackend at once", got.err, got.after)
	}
	var err error
	done := make(chan struct{})
	NewAuthorizer(b, time.Minute).AuthorizeJoins([]gateway.JoinAsk{{JoinRequest: &gateway.JoinRequest{Topic: "room:a", Params: []byte(`{}`), Channel: "g1.a.b"}, Done: func(d *gateway.JoinDecision, e error) {
		err = e
		close(done)
	}}})
	within(t, "the decision", done)
	if err != gateway.ErrNoBackend {
		t.Errorf("join: %v, want ErrNoBackend", err)
	}
}

// TestRequestsFailWithTheConnection: who waits is told at once, not after the timeout.
func TestRequestsFailWithTheConnection(t *testing.T) {
	t.Parallel()
	servers := phxtest.StartCluster(t, 1)
	b, r := startBus(t, servers.URL(0))
	silent := listen(t, backend(t, servers.URL(0)), "phx.event.>")
	var waiting []<-chan answered
	for range 100 {
		waiting = append(waiting, ask(t, b, "ask", time.Hour))
	}
	for range waiting {
		next(t, silent)
	}
	servers.Stop(0)
	for _, results := range waiting {
		if got := within(t, "the end of a call", results); got.err != gateway.ErrUnavailable {
			t.Fatalf("%v, want ErrUnavailable", got.err)
		}
	}
	waitFor(t, "the bus is down", func() bool { return !b.Available() })
	e := &gateway.Event{Topic: "room:a", Name: "e", Payload: []byte(`{}`)}
	for name, err := range map[string]error{
		"broadcast": b.Broadcast(e), "cast": b.Cast(e), "joined": b.Joined(e), "left": b.Left(e, "left"),
		"call": b.Call(e, time.Minute, func(*gateway.Answer, error) { t.Error("called back after an error") }),
	} {
		if !errors.Is(err, gateway.ErrUnavailable) {
			t.Errorf("%s while NATS is away: %v, want ErrUnavailable", name, err)
		}
	}
	subscribed := make(chan error, 1)
	b.Subscribe("room:b", func(err error) { subscribed <- err })
	if err := within(t, "the end of a subscription", subscribed); err != gateway.ErrUnavailable {
		t.Errorf("subscribe while NATS is away: %v, want ErrUnavailable", err)
	}
	if b.Ready(time.Minute) != nil || b.Ready(0) == nil || r.count("gap") != 0 {
		t.Errorf("ready within a minute's grace: %v, without: %v; %d gaps before it is back", b.Ready(time.Minute), b.Ready(0), r.count("gap"))
	}
}
