package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// unpaced lets as many rechecks begin as come.
func (a *authzLoop) unpaced() *authzLoop {
	a.srv.recheckPace = rate.NewLimiter(rate.Inf, 0)
	return a
}

// TestRecheckTopic: every channel of the topic is asked about, and no other; who is refused is closed and gets nothing more, whatever waited for it.
func TestRecheckTopic(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	kept, gone, other := a.join("user:1", "room:a", `{"n":1}`), a.join("user:2", "room:a", `{"n":2}`), a.join("user:1", "room:b", `{}`)
	a.srv.RecheckTopic("room:a")
	turn(a.loop)
	for range 2 {
		ask := a.next()
		if !ask.Recheck || ask.Reauthorize || ask.Topic != "room:a" {
			t.Errorf("asked %+v", ask.JoinRequest)
		}
		if string(ask.Params) == `{"n":1}` {
			ask.Done(&JoinDecision{OK: true, Response: []byte(`{"not":"told"}`), Assigns: []byte(`{"role":"less"}`)}, nil)
			continue
		}
		ask.Done(refuse(), nil)
	}
	a.wantQuiet()
	a.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "late", Payload: emptyObject}) // after the refusal came
	turn(a.loop)
	wantReceived(t, gone, closed("room:a"))
	wantReceived(t, kept, `[null,null,"room:a","late",{}]`)
	wantReceived(t, other)
	if string(kept.assigns) != `{"role":"less"}` || !slices.Equal(a.bus.left, []string{"kicked"}) {
		t.Errorf("assigns %s, left %v", kept.assigns, a.bus.left)
	}
}

// TestRecheckRefusedInTheSameTurn: a broadcast that came before the refusal and was not fanned out yet is not for the channel either.
func TestRecheckRefusedInTheSameTurn(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	ch := a.join("", "room:a", `{}`)
	a.srv.RecheckTopic("room:a")
	turn(a.loop)
	a.srv.Broadcast(&Broadcast{Topic: "room:a", Event: "late", Payload: emptyObject})
	a.answer(refuse(), nil)
	wantReceived(t, ch, closed("room:a"))
}

// TestRecheckSocket: the channels of every socket of the id.
func TestRecheckSocket(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	first := a.join("user:1", "room:a", `{}`)
	a.joinSocket(first.socket, "room:b", `{}`)
	a.join("user:1", "room:a", `{}`)
	a.join("user:2", "room:a", `{}`)
	a.srv.RecheckSocket("user:1")
	a.srv.RecheckSocket("user:3")
	turn(a.loop)
	var got []string
	for range 3 {
		ask := a.next()
		got = append(got, ask.SocketID+" "+ask.Topic)
	}
	slices.Sort(got)
	if want := []string{"user:1 room:a", "user:1 room:a", "user:1 room:b"}; !slices.Equal(got, want) {
		t.Errorf("asked about %v, want %v", got, want)
	}
	a.wantQuiet()
}

// TestRecheckAgain: an order that comes while the answer is under way is not answered by it; one that comes while the channel waits is.
func TestRecheckAgain(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	ch := a.join("", "room:a", `{}`)
	for range 3 {
		a.srv.RecheckTopic("room:a")
	}
	turn(a.loop)
	first := a.next()
	a.wantQuiet()
	first.Done(allow(), nil)
	turn(a.loop)
	a.answer(refuse(), nil)
	if ch.state != ended {
		t.Error("the second order found a channel that the first answer had allowed")
	}
}

// TestRecheckWhileJoining: the answer to a join may be of a time before the order.
func TestRecheckWhileJoining(t *testing.T) {
	for name, order := range map[string]func(*Server){
		"topic":  func(srv *Server) { srv.RecheckTopic("room:a") },
		"socket": func(srv *Server) { srv.RecheckSocket("user:1") },
		"gap":    func(srv *Server) { srv.Gap(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthzLoop(t, nil).unpaced()
			a.join("", "room:a", `{}`)
			a.join("", "room:b", `{}`)
			before := a.join("user:1", "room:b", `{}`)
			joinWith(a.loop, a.bus, before.socket, "room:a", `{"n":1}`)
			joining := a.next()
			order(a.srv)
			turn(a.loop)
			a.service.asks = nil
			joining.Done(allow(), nil)
			settle(a.loop, a.bus)
			ask := a.answer(refuse(), nil)
			if string(ask.Params) != `{"n":1}` || !ask.Recheck || before.socket.channelOf("room:a") != nil {
				t.Errorf("asked %+v", ask.JoinRequest)
			}
		})
	}
}

// TestRecheckAndReauthorize: a refusal of params that the client has renewed meanwhile does not count.
func TestRecheckAndReauthorize(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	ch := a.join("", "room:a", `{"token":"old"}`)
	a.srv.RecheckTopic("room:a")
	turn(a.loop)
	old := a.next()
	ch.send(a.loop, "2", "access_token", `{"token":"new"}`)
	a.answer(allow(), nil)
	wantReceived(t, ch, okReply("2", "room:a"))
	old.Done(refuse(), nil)
	turn(a.loop)
	if ask := a.answer(allow(), nil); string(ask.Params) != `{"token":"new"}` || ch.state != joined {
		t.Errorf("asked %+v, state %d", ask.JoinRequest, ch.state)
	}
	a.wantQuiet()
}

// TestRecheckPaced: 2,000 members are asked about at the pace and no more at once than may be, and each of them once.
func TestRecheckPaced(t *testing.T) {
	const members = 2000
	a := newAuthzLoop(t, func(cfg *Config) { cfg.RechecksPerSecond = 1000 })
	pace := rate.NewLimiter(0, 100) // the test gives the tokens: what the limiter does with a clock is its own affair
	a.srv.recheckPace = pace
	for i := range members {
		a.join(fmt.Sprint("user:", i), "room:a", `{}`)
	}
	a.srv.RecheckTopic("room:a")
	turn(a.loop)
	if n := len(a.service.asks); n != 100 {
		t.Fatalf("%d are asked about at once, want the burst of 100", n)
	}
	pace.SetLimit(rate.Inf)
	a.wait(tickLength)
	if n := len(a.service.asks); n != recheckUnderWay {
		t.Fatalf("%d wait for the authorizer, want %d", n, recheckUnderWay)
	}
	for asked := 0; asked < members; asked++ {
		if n := len(a.service.asks); n > recheckUnderWay || n == 0 {
			t.Fatalf("%d wait for the authorizer after %d answers", n, asked)
		}
		a.answer([]*JoinDecision{allow(), refuse()}[asked%2], nil)
	}
	a.wantQuiet()
	if n := a.stats.channels.load(); n != members/2 {
		t.Errorf("%d channels are left, want %d", n, members/2)
	}
	if r := &a.rechecks; len(r.queue)+len(r.late)+len(r.since) != 0 || a.srv.rechecking.Load() != 0 {
		t.Errorf("left over: %d, %d, %d, %d under way", len(r.queue), len(r.late), len(r.since), a.srv.rechecking.Load())
	}
}

// TestRecheckUnanswered: it is tried again for a while; then the channel must rejoin.
func TestRecheckUnanswered(t *testing.T) {
	for _, err := range []error{ErrNoBackend, ErrTimeout, ErrUnavailable, errNonsense} {
		a := newAuthzLoop(t, nil).unpaced()
		ch, saved := a.join("", "room:a", `{}`), a.join("", "room:a", `{"n":1}`)
		a.srv.RecheckTopic("room:a")
		turn(a.loop)
		tries := 0
		for waited := time.Duration(0); ch.state == joined && waited <= recheckPatience+2*recheckRetry; waited += recheckRetry {
			for len(a.service.asks) > 0 {
				if ask := a.next(); string(ask.Params) == `{"n":1}` && tries > 2 {
					ask.Done(allow(), nil)
				} else {
					ask.Done(nil, err)
				}
			}
			turn(a.loop)
			tries++
			a.wait(recheckRetry)
		}
		if want := int(recheckPatience/recheckRetry) + 1; ch.state != ended || tries < want-1 || tries > want+1 {
			t.Errorf("%v: state %d after %d tries, want some %d", err, ch.state, tries, want)
		}
		wantReceived(t, ch, crashed("room:a"))
		wantReceived(t, saved)
		if !slices.Equal(a.bus.left, []string{"expired"}) || len(a.rechecks.since)+len(a.rechecks.late) != 0 {
			t.Errorf("left %v; %d, %d left over", a.bus.left, len(a.rechecks.since), len(a.rechecks.late))
		}
	}
}

// TestRecheckOfOthers: channels that nobody can be asked about.
func TestRecheckOfOthers(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	large := a.join("", "room:a", `{"x":"`+strings.Repeat("x", maxKeptParams)+`"}`)
	open := join(t, a.loop, a.bus, large.socket, "open:a")
	left := a.join("", "room:a", `{}`)
	received(t, open)
	a.srv.RecheckTopic("room:a")
	a.srv.RecheckTopic("open:a")
	a.srv.RecheckTopic("nobody:here")
	a.endChannel(left, leftLeft)
	turn(a.loop)
	a.wantQuiet()
	wantReceived(t, large, crashed("room:a"))
	if open.state != joined {
		t.Error("a channel that everybody may join was ended")
	}
	// An expression decides again as it did for the join.
	code := joinWith(a.loop, a.bus, openSocket(a.loop, keeping(), phx.V2), "code:a", `{"code":"x"}`)
	received(t, code)
	a.srv.RecheckTopic("code:a")
	turn(a.loop)
	if code.state != joined || a.stats.rechecks.n[recheckAllowed].load() != 2 {
		t.Errorf("state %d after an expression allowed again, %d allowed", code.state, a.stats.rechecks.n[recheckAllowed].load())
	}
	// The rules are those that hold now.
	kept := a.join("", "room:a", `{}`)
	set, err := rules.Parse("rules.yaml", []byte("channels: [{topic: \"open:*\"}, {topic: \"room:*\", join: deny}, {topic: \"code:*\", join: 'params.code == \"z\"'}]"))
	if err != nil {
		t.Fatal(err)
	}
	a.srv.SetRules(set)
	a.srv.RecheckTopic("room:a")
	a.srv.RecheckTopic("open:a")
	a.srv.RecheckTopic("code:a")
	turn(a.loop)
	a.wantQuiet()
	wantReceived(t, code, closed("code:a"))
	wantReceived(t, kept, closed("room:a"))
	wantReceived(t, open, crashed("open:a"))
}

// TestRecheckAfterAGap: an order may have been among what was missed. A channel that rejoins is authorized by that.
func TestRecheckAfterAGap(t *testing.T) {
	a := newAuthzLoop(t, nil).unpaced()
	quiet := a.join("", "quiet:a", `{"n":1}`)
	a.join("", "room:a", `{}`)
	a.srv.Gap([]string{"quiet:a"}) // its orders come on another subject
	turn(a.loop)
	a.wantQuiet()
	a.srv.Gap(nil)
	turn(a.loop)
	if ask := a.answer(refuse(), nil); string(ask.Params) != `{"n":1}` || quiet.state != ended {
		t.Errorf("asked %+v, state %d", ask.JoinRequest, quiet.state)
	}
	a.wantQuiet()
}
