package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// authzRules are topics whose joins are asked about.
const authzRules = `
channels:
  - topic: "room:*"
    events:
      - {event: access_token, do: reauthorize}
      - {event: token, do: reauthorize, reply: false}
      - {event: say, do: broadcast, set: {by: params.name}}
      - {event: "*", do: cast}
  - {topic: "quiet:*", on_gap: notify}
  - topic: "code:*"
    join: 'params.code == "x"'
    events: [{event: code, do: reauthorize}, {event: "*", do: cast}]
  - {topic: "open:*", join: allow}
`

// fakeService is an authorizer that answers when the test says so.
type fakeService struct {
	Authorizer
	asks   []JoinAsk // not answered yet
	pieces []int     // how many came in each call
}

func (a *fakeService) AuthorizeJoins(asks []JoinAsk) {
	a.asks = append(a.asks, asks...)
	a.pieces = append(a.pieces, len(asks))
}

// authzLoop is a loop with authzRules whose authorizer is the test's.
type authzLoop struct {
	*loop
	t       *testing.T
	bus     *fakeBus
	service *fakeService
}

func newAuthzLoop(t *testing.T, change func(*Config)) *authzLoop {
	t.Helper()
	set, err := rules.Parse("rules.yaml", []byte(authzRules))
	if err != nil {
		t.Fatal(err)
	}
	l, bus := newTestLoop(t, func(cfg *Config) {
		cfg.Rules = set
		if change != nil {
			change(cfg)
		}
	})
	a := &authzLoop{loop: l, t: t, bus: bus, service: &fakeService{}}
	l.srv.authorizer = a.service
	return a
}

// next takes the oldest request.
func (a *authzLoop) next() JoinAsk {
	a.t.Helper()
	if len(a.service.asks) == 0 {
		a.t.Fatal("the authorizer was not asked")
	}
	ask := a.service.asks[0]
	a.service.asks = a.service.asks[1:]
	return ask
}

// answer answers the oldest request and runs the loop.
func (a *authzLoop) answer(d *JoinDecision, err error) JoinAsk {
	a.t.Helper()
	ask := a.next()
	ask.Done(d, err)
	settle(a.loop, a.bus)
	return ask
}

// wantQuiet fails the test if the authorizer was asked.
func (a *authzLoop) wantQuiet() {
	a.t.Helper()
	if n := len(a.service.asks); n != 0 {
		a.t.Errorf("the authorizer was asked %d times", n)
	}
}

func allow() *JoinDecision { return &JoinDecision{OK: true, Response: emptyObject} }
func refuse() *JoinDecision {
	return &JoinDecision{Response: []byte(`{"reason":"revoked"}`)}
}

// join joins a new socket of an id.
func (a *authzLoop) join(id, topic, params string) *channel {
	a.t.Helper()
	s := openSocket(a.loop, keeping(), phx.V2)
	a.setID(s, id)
	return a.joinSocket(s, topic, params)
}

func (a *authzLoop) joinSocket(s *socket, topic, params string) *channel {
	a.t.Helper()
	joinWith(a.loop, a.bus, s, topic, params)
	a.answer(allow(), nil)
	ch := s.channelOf(topic)
	if ch == nil || ch.state != joined {
		a.t.Fatalf("%s is not joined", topic)
	}
	received(a.t, ch)
	return ch
}

// wait lets time pass, tick by tick, with the pace as if it had passed on the clock too.
func (a *authzLoop) wait(d time.Duration) {
	for range ticks(d) {
		a.now++
		a.tickRechecks()
		turn(a.loop)
	}
}

// closed is what a client reads when a channel is revoked, crashed when it must rejoin.
func closed(topic string) string { return fmt.Sprintf(`["1","1","%s","phx_close",{}]`, topic) }
func crashed(topic string) string {
	return fmt.Sprintf(`["1","1","%s","phx_error",{"reason":"channel_crash"}]`, topic)
}
