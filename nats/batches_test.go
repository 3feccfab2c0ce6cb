package nats

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// fakeAuthz answers joins as a service does, by what their params say: status, and alone for one that it leaves out of a batch.
type fakeAuthz struct {
	t       *testing.T
	nc      *natsgo.Conn
	mu      sync.Mutex // guards the rest
	singles int
	batches []int // how many joins were in each, of those with any
	empty   int   // batches without any
}

// startAuthz answers phx.authz.join. batch, where set, answers phx.authz.joins; what it returns is sent, nil not.
func startAuthz(t *testing.T, url string, batch func(*fakeAuthz, []byte) []byte) *fakeAuthz {
	t.Helper()
	a := &fakeAuthz{t: t, nc: backend(t, url)}
	a.serve("phx.authz.join", func(body []byte) []byte {
		a.mu.Lock()
		a.singles++
		a.mu.Unlock()
		return a.decide(body)
	})
	if batch != nil {
		a.serve("phx.authz.joins", func(body []byte) []byte {
			a.mu.Lock()
			if n := strings.Count(string(body), `"topic"`); n > 0 {
				a.batches = append(a.batches, n)
			} else {
				a.empty++
			}
			a.mu.Unlock()
			return batch(a, body)
		})
	}
	return a
}

func (a *fakeAuthz) serve(subject string, answer func([]byte) []byte) *natsgo.Subscription {
	a.t.Helper()
	sub, err := a.nc.Subscribe(subject, func(m *natsgo.Msg) {
		if body := answer(m.Data); body != nil {
			_ = m.Respond(body) // the test sees that it did not come
		}
	})
	if err == nil {
		err = a.nc.FlushTimeout(phxtest.Patience())
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return sub
}

func (a *fakeAuthz) decide(body []byte) []byte {
	var r struct {
		Topic  string
		Params struct{ Status string }
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return []byte(err.Error())
	}
	return []byte(fmt.Sprintf(`{"status":%q,"response":%q,"assigns":{"t":%q}}`, r.Params.Status, r.Topic, r.Topic))
}

// joins answers a batch as docs/contract.md says.
func (a *fakeAuthz) joins(body []byte) []byte {
	var r struct {
		Joins []json.RawMessage `json:"joins"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return []byte(err.Error())
	}
	for i, one := range r.Joins {
		if r.Joins[i] = a.decide(one); strings.Contains(string(one), `"alone":true`) {
			r.Joins[i] = json.RawMessage("null")
		}
	}
	answer, _ := json.Marshal(r)
	return answer
}

// seen is how many requests came.
func (a *fakeAuthz) seen() (singles int, batches []int, empty int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.singles, append([]int(nil), a.batches...), a.empty
}

func (a *fakeAuthz) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.singles, a.batches, a.empty = 0, nil, 0
}

// decision is what became of one join.
type decision struct {
	d   *gateway.JoinDecision
	err error
}

// askTogether asks about topics t0, t1, … with these params and waits for all.
func askTogether(t *testing.T, a *Authorizer, params ...string) []decision {
	t.Helper()
	results := make([]chan decision, len(params))
	var asks []gateway.JoinAsk
	for i, p := range params {
		results[i] = make(chan decision, 2) // room for a second answer, which must not come
		asks = append(asks, gateway.JoinAsk{
			JoinRequest: &gateway.JoinRequest{Topic: fmt.Sprint("t", i), Params: []byte(p), Channel: "g1.a.b", Assigns: []byte(`{"s":1}`)},
			Done:        func(d *gateway.JoinDecision, err error) { results[i] <- decision{d, err} },
		})
	}
	a.AuthorizeJoins(asks)
	decisions := make([]decision, len(params))
	for i := range results {
		decisions[i] = within(t, fmt.Sprint("decision ", i), results[i])
	}
	for i := range results {
		if len(results[i]) != 0 {
			t.Errorf("join %d was decided twice", i)
		}
	}
	return decisions
}

// wantDecided checks that each of n joins was accepted by its own answer.
func wantDecided(t *testing.T, decisions []decision) {
	t.Helper()
	for i, got := range decisions {
		topic := fmt.Sprintf(`"t%d"`, i)
		if got.err != nil || !got.d.OK || string(got.d.Response) != topic || string(got.d.Assigns) != `{"s":1,"t":`+topic+`}` || string(got.d.Granted) != `{"t":`+topic+`}` {
			t.Errorf("join %d: %+v, %v", i, got.d, got.err)
		}
	}
}

func many(n int) (params []string) {
	for range n {
		params = append(params, `{"status":"ok"}`)
	}
	return params
}

// startBatches starts a server, a service, and an authorizer that has found out about it.
func startBatches(t *testing.T, timeout time.Duration, batch func(*fakeAuthz, []byte) []byte) (*Authorizer, *fakeAuthz) {
	t.Helper()
	url := phxtest.StartNATS(t)
	service := startAuthz(t, url, batch)
	b, _ := startBus(t, url)
	a := NewAuthorizer(b, timeout)
	wantDecided(t, askTogether(t, a, many(1)...)) // the first is not delayed to find it out
	return a, service
}

// learns waits until batches are made.
func learns(t *testing.T, a *Authorizer) {
	t.Helper()
	waitFor(t, "it is known that batches are answered", a.batches.Load)
}

// TestJoinsInABatch: what comes together is one request, where it fits, and each join gets its own answer.
func TestJoinsInABatch(t *testing.T) {
	t.Parallel()
	a, service := startBatches(t, phxtest.Patience(), (*fakeAuthz).joins)
	learns(t, a)
	for _, tc := range []struct {
		params  []string
		singles int
		batches string
	}{
		{many(40), 0, "[40]"},
		{many(1), 1, "[]"},
		{many(maxBatch + 1), 1, fmt.Sprintf("[%d]", maxBatch)},
		{many(2*maxBatch + 2), 0, fmt.Sprintf("[%d %d 2]", maxBatch, maxBatch)},
		{[]string{`{"status":"ok"}`, `{"status":"ok","alone":true}`, `{"status":"ok"}`}, 1, "[3]"},
		{[]string{`{"status":"ok","large":"` + strings.Repeat("x", 150<<10) + `"}`, `{"status":"ok","large":"` + strings.Repeat("y", 150<<10) + `"}`, `{"status":"ok"}`}, 1, "[2]"},
	} {
		service.reset()
		wantDecided(t, askTogether(t, a, tc.params...))
		singles, batches, _ := service.seen()
		if singles != tc.singles || fmt.Sprint(batches) != tc.batches {
			t.Errorf("%d joins: %d alone and batches of %v, want %d and %s", len(tc.params), singles, batches, tc.singles, tc.batches)
		}
	}
	mixed := askTogether(t, a, `{"status":"ok"}`, `{"status":"error"}`, `{"status":"fine"}`)
	if mixed[0].err != nil || !mixed[0].d.OK || mixed[1].err != nil || mixed[1].d.OK || !errors.Is(mixed[2].err, gateway.ErrBadAnswer) {
		t.Errorf("%+v: want accepted, refused, nonsense", mixed)
	}
}

// TestNoBatches: with a service that answers none, or nothing that is one, each join is asked about by itself, at once.
func TestNoBatches(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]func(*fakeAuthz, []byte) []byte{
		"nobody listens":     nil,
		"somebody listens":   func(*fakeAuthz, []byte) []byte { return nil },
		"one answer for all": func(*fakeAuthz, []byte) []byte { return []byte(`{"status":"ok"}`) },
		"an error":           func(*fakeAuthz, []byte) []byte { return []byte(`{"error":"unknown subject"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, service := startBatches(t, time.Hour, batch)
			for range 3 {
				wantDecided(t, askTogether(t, a, many(20)...))
			}
			singles, batches, empty := service.seen()
			if singles != 61 || len(batches) != 0 || empty > 1 {
				t.Errorf("%d alone, batches of %v, %d empty ones: want 61, none and at most 1", singles, batches, empty)
			}
		})
	}
}

// TestBatchesEnd: a service that answers batches no longer costs no join, and one that comes is found again.
func TestBatchesEnd(t *testing.T) {
	t.Parallel()
	var how func([]byte) []byte // guarded by the service's mutex
	a, service := startBatches(t, phxtest.Patience(), func(s *fakeAuthz, body []byte) []byte {
		s.mu.Lock()
		answer := how
		s.mu.Unlock()
		if answer != nil {
			return answer(body)
		}
		return s.joins(body)
	})
	for _, answer := range []string{`{"joins":[]}`, `{"joins":[null]}`, `{"status":"ok"}`, `no JSON`, ``} {
		learns(t, a)
		service.mu.Lock()
		how = func([]byte) []byte { return []byte(answer) }
		service.mu.Unlock()
		service.reset()
		wantDecided(t, askTogether(t, a, many(5)...))
		wantDecided(t, askTogether(t, a, many(5)...))
		if singles, batches, _ := service.seen(); singles != 10 || fmt.Sprint(batches) != "[5]" {
			t.Errorf("answered %s: %d alone, batches of %v; want all 10, after one batch", answer, singles, batches)
		}
		service.mu.Lock()
		how = nil
		service.mu.Unlock()
		a.nextTry.Store(0) // its time has come
		wantDecided(t, askTogether(t, a, many(1)...))
	}
}

// TestBatchWithoutResponder: the service went without a word.
func TestBatchWithoutResponder(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	service := startAuthz(t, url, nil)
	sub := service.serve("phx.authz.joins", service.joins)
	b, _ := startBus(t, url)
	a := NewAuthorizer(b, time.Hour)
	wantDecided(t, askTogether(t, a, many(1)...))
	learns(t, a)
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if err := service.nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Fatal(err)
	}
	wantDecided(t, askTogether(t, a, many(5)...))
	if a.batches.Load() || a.nextTry.Load() < time.Now().UnixNano() {
		t.Error("the next joins would be asked about in a batch again")
	}
}

// TestBatchUnanswered: what somebody took and did not answer is refused, as a single request is; those that come then are asked about one by one.
func TestBatchUnanswered(t *testing.T) {
	t.Parallel()
	a, service := startBatches(t, 500*time.Millisecond, func(s *fakeAuthz, body []byte) []byte {
		if string(body) == `{"joins":[]}` {
			return body
		}
		return nil
	})
	learns(t, a)
	for _, got := range askTogether(t, a, many(5)...) {
		if !errors.Is(got.err, gateway.ErrTimeout) {
			t.Errorf("%+v, %v: want a timeout", got.d, got.err)
		}
	}
	service.reset()
	wantDecided(t, askTogether(t, a, many(5)...))
	if singles, batches, empty := service.seen(); singles != 5 || len(batches)+empty != 0 {
		t.Errorf("%d alone, batches of %v, %d empty: want 5 alone", singles, batches, empty)
	}
}

// TestRechecks: orders reach the inbox, in their place among other messages.
func TestRechecks(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	subscribe(t, b, "room:a")
	nc := backend(t, url)
	publish(t, nc, "phx.topic.room.a", `{"event":"before","payload":{}}`)
	publish(t, nc, "phx.authz.recheck.topic.room.a", "")
	publish(t, nc, "phx.authz.recheck.socket.user=3A1", `anything`)
	publish(t, nc, "phx.topic.room.a", `{"event":"after","payload":{}}`)
	waitFor(t, "all", func() bool { return r.len() == 4 })
	if want := []string{"topic room:a before {}", "recheck topic room:a", "recheck socket user:1", "topic room:a after {}"}; fmt.Sprint(r.lines) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", r.lines, want)
	}
}
