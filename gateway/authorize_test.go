package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
	"github.com/phxgate/phxgate/gateway/rules"
)

// TestReauthorizeAsks: the payload goes over the join's params, key by key, and what was granted holds for the next time.
func TestReauthorizeAsks(t *testing.T) {
	for _, tc := range []struct{ params, payload, want string }{
		{`{"token":"a","name":"Ann"}`, `{"token":"b"}`, `{"token":"b","name":"Ann"}`},
		{`{}`, `{"token":"b"}`, `{"token":"b"}`},
		{`{"a":{"x":1}}`, `{"a":{"y":2},"b":[1]}`, `{"a":{"y":2},"b":[1]}`},
		{`{"a":1,"a":2}`, `{}`, `{"a":2}`},
		{`null`, `{"token":"b"}`, `{"token":"b"}`},
		{`["x"]`, `{ }`, `{}`},
	} {
		a := newAuthzLoop(t, nil)
		ch := a.join("user:1", "room:a", tc.params)
		ch.socket.assigns = []byte(`{"id":1}`)
		ch.send(a.loop, "2", "access_token", tc.payload)
		wantReceived(t, ch)
		ask := a.answer(&JoinDecision{OK: true, Response: []byte(`{"n":1}`)}, nil)
		if string(ask.Params) != tc.want || !ask.Reauthorize || ask.Recheck || ask.Channel != ch.id() || ask.Topic != "room:a" || ask.SocketID != "user:1" || string(ask.Assigns) != `{"id":1}` {
			t.Errorf("%s and %s: asked %+v, want params %s", tc.params, tc.payload, ask.JoinRequest, tc.want)
		}
		wantReceived(t, ch, `["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}]`)
		a.srv.RecheckTopic("room:a")
		turn(a.loop)
		if ask = a.next(); string(ask.Params) != tc.want || !ask.Recheck || ask.Reauthorize {
			t.Errorf("recheck asks %+v, want params %s", ask.JoinRequest, tc.want)
		}
	}
}

// TestReauthorizeGrants: assigns, events and expiry are the new ones; what is behind the event waits for them.
func TestReauthorizeGrants(t *testing.T) {
	a := newAuthzLoop(t, nil)
	ch := a.join("", "room:a", `{"name":"Ann"}`)
	ch.send(a.loop, "2", "token", `{"name":"Bea"}`)
	ch.send(a.loop, "3", "wave", `{}`)
	if a.bus.casts != 0 {
		t.Error("an event overtook the reauthorization")
	}
	soon := time.Now().Add(5 * time.Second)
	a.answer(&JoinDecision{OK: true, Response: []byte(`{"n":1}`), Assigns: []byte(`{"role":"x"}`), Events: []string{"token", "say"}, HasEvents: true, ExpiresAt: soon}, nil)
	wantReceived(t, ch, errorReply("3", "room:a", "unauthorized")) // and no reply to the token
	if string(ch.assigns) != `{"role":"x"}` || ch.more.expires == 0 || ch.socket.deadline == 0 {
		t.Errorf("assigns %s, expires %d", ch.assigns, ch.more.expires)
	}
	if string(ch.more.params) != `{"name":"Bea"}` { // the rule of say sets params.name
		t.Errorf("the rules see the params %s", ch.more.params)
	}
	if got := a.stats.events.n[rules.Reauthorize].load(); got != 1 {
		t.Errorf("%d reauthorizations are counted, want 1", got)
	}
	// And they go as they came: the channel's old deadline finds nothing.
	ch.send(a.loop, "4", "token", `{}`)
	a.answer(allow(), nil)
	if ch.assigns != nil || ch.more.events != nil || ch.more.expires != 0 {
		t.Errorf("assigns %s, events %v, expires %d: want none", ch.assigns, ch.more.events, ch.more.expires)
	}
	a.now = a.at(soon) + 1
	a.checkTime(ch.socket)
	if ch.state != joined {
		t.Error("the old expiry ended the channel")
	}
}

// TestReauthorizeAndAssigned: what backends have assigned stays beside what is granted anew, under it, and does not come back from under it.
func TestReauthorizeAndAssigned(t *testing.T) {
	a := newAuthzLoop(t, nil)
	ch := a.join("", "room:a", `{}`)
	ch.socket.assigns = []byte(`{"id":1}`)
	a.loop.answer(ch, "", &Answer{Status: StatusNone, Assigns: []byte(`{"n":1,"id":2,"role":"admin"}`)}, Dropped{})
	for _, step := range []struct{ granted, want string }{
		{`{"role":"member"}`, `{"id":2,"n":1,"role":"member"}`},
		{`{"n":5}`, `{"id":2,"n":5}`},
		{``, `{"id":2}`},
	} {
		ch.send(a.loop, "2", "token", `{}`)
		a.answer(&JoinDecision{OK: true, Response: emptyObject, Assigns: []byte(`{"not":"this"}`), Granted: []byte(step.granted)}, nil)
		if string(ch.assigns) != step.want {
			t.Errorf("granted %s: %s, want %s", step.granted, ch.assigns, step.want)
		}
	}
	// Where both together are too large the channel ends as it does when a backend assigns too much.
	a.loop.answer(ch, "", &Answer{Status: StatusNone, Assigns: []byte(`{"large":"` + strings.Repeat("x", MaxAssigns/2) + `"}`)}, Dropped{})
	ch.send(a.loop, "3", "token", `{}`)
	a.answer(&JoinDecision{OK: true, Response: emptyObject, Granted: []byte(`{"also":"` + strings.Repeat("x", MaxAssigns/2) + `"}`)}, nil)
	wantReceived(t, ch, crashed("room:a"))
	if !slices.Equal(a.bus.left, []string{"crashed"}) {
		t.Errorf("left %v", a.bus.left)
	}
}

// TestReauthorizeByCondition: where an expression decided about the join it decides again, at once.
func TestReauthorizeByCondition(t *testing.T) {
	a := newAuthzLoop(t, nil)
	s := openSocket(a.loop, keeping(), phx.V2)
	ch := joinWith(a.loop, a.bus, s, "code:a", `{"code":"x","n":1}`)
	received(t, ch)
	ch.send(a.loop, "2", "code", `{"n":2}`)
	ch.send(a.loop, "3", "code", `[]`)
	ch.send(a.loop, "4", "code", `{"code":"y"}`)
	wantReceived(t, ch, okReply("2", "code:a"), errorReply("3", "code:a", "invalid payload"), errorReply("4", "code:a", "unauthorized"), closed("code:a"))
	if !slices.Equal(a.bus.left, []string{"kicked"}) || len(a.params.of) != 0 {
		t.Errorf("left %v, params of %d", a.bus.left, len(a.params.of))
	}
	a.wantQuiet()
}

// TestReauthorizeUnderOtherRules: a channel that joined when nobody decided is decided about by what the event says, and from then on as all others.
func TestReauthorizeUnderOtherRules(t *testing.T) {
	a := newAuthzLoop(t, nil)
	ch := joinWith(a.loop, a.bus, openSocket(a.loop, keeping(), phx.V2), "open:a", `{"token":"unseen"}`)
	received(t, ch)
	set, err := rules.Parse("rules.yaml", []byte(`channels: [{topic: "open:*", events: [{event: token, do: reauthorize}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	a.srv.SetRules(set)
	ch.send(a.loop, "2", "token", `{"token":"b"}`)
	if ask := a.answer(allow(), nil); string(ask.Params) != `{"token":"b"}` {
		t.Errorf("asked with %s", ask.Params)
	}
	wantReceived(t, ch, okReply("2", "open:a"))
	a.srv.RecheckTopic("open:a")
	turn(a.loop)
	if ask := a.answer(refuse(), nil); string(ask.Params) != `{"token":"b"}` || ch.state != ended {
		t.Errorf("asked with %s, state %d", ask.Params, ch.state)
	}
}

// TestReauthorizeRefused: the client is told why, the channel is closed for good, and what waited with it.
func TestReauthorizeRefused(t *testing.T) {
	for _, tc := range []struct {
		d        *JoinDecision
		response string
	}{
		{refuse(), `{"reason":"revoked"}`},
		{&JoinDecision{OK: true, Response: emptyObject, ExpiresAt: time.Now().Add(-time.Second)}, `{"reason":"unauthorized"}`},
	} {
		for _, event := range []string{"access_token", "token"} {
			a := newAuthzLoop(t, nil)
			ch := a.join("", "room:a", `{}`)
			ch.send(a.loop, "2", event, `{"token":"old"}`)
			ch.send(a.loop, "3", "wave", `{}`)
			a.answer(tc.d, nil)
			wantReceived(t, ch, `["1","2","room:a","phx_reply",{"status":"error","response":`+tc.response+`}]`, closed("room:a"))
			if ch.state != ended || !slices.Equal(a.bus.left, []string{"kicked"}) || a.bus.casts != 0 {
				t.Errorf("%s: state %d, left %v, %d casts", event, ch.state, a.bus.left, a.bus.casts)
			}
			if len(a.params.of)+len(a.params.all) != 0 || a.srv.paramsBytes.Load() != 0 {
				t.Errorf("params of a channel that is gone are kept: %v", a.params)
			}
		}
	}
}

// TestReauthorizeUndecided: without an answer everything stays as it was.
func TestReauthorizeUndecided(t *testing.T) {
	for err, reason := range map[error]string{
		ErrNoBackend: "authorization unavailable", ErrTimeout: "authorization unavailable", fmt.Errorf("%w: x", ErrBadAnswer): "authorization unavailable",
		ErrUnavailable: "unavailable", ErrTooLarge: "payload too large",
	} {
		a := newAuthzLoop(t, nil)
		ch := a.join("", "room:a", `{"token":"a"}`)
		ch.extra().expires = 77
		ch.send(a.loop, "2", "token", `{"token":"b"}`)
		a.answer(nil, err)
		wantReceived(t, ch, errorReply("2", "room:a", reason))
		if ch.state != joined || ch.more.expires != 77 || a.params.get(ch).raw != `{"token":"a"}` {
			t.Errorf("%v: state %d, expires %d, params %s", err, ch.state, ch.more.expires, a.params.get(ch).raw)
		}
		ch.send(a.loop, "3", "wave", `{}`)
		if a.bus.casts != 1 {
			t.Errorf("%v: the next event is not handed over", err)
		}
	}
}

// TestReauthorizePayloads: what nobody is asked about.
func TestReauthorizePayloads(t *testing.T) {
	a := newAuthzLoop(t, nil)
	ch := a.join("", "room:a", `{}`)
	for _, payload := range []string{`[]`, `null`, `1`, `"token"`} {
		ch.send(a.loop, "2", "access_token", payload)
		wantReceived(t, ch, errorReply("2", "room:a", "invalid payload"))
	}
	a.feed(ch.socket, clientFrame(ws.OpBinary, true, []byte("\x00\x01\x01\x06\x05"+"1"+"2"+"room:a"+"token"+"{}")))
	turn(a.loop)
	wantReceived(t, ch, errorReply("2", "room:a", "invalid payload"))
	ch.send(a.loop, "2", "access_token", `{"token":"`+strings.Repeat("x", maxKeptParams)+`"}`)
	wantReceived(t, ch, errorReply("2", "room:a", "payload too large"))
	ch.extra().events = map[string]struct{}{"access_token": {}}
	ch.send(a.loop, "2", "token", `{}`)
	wantReceived(t, ch, errorReply("2", "room:a", "unauthorized"))

	large := a.join("", "room:b", `{"x":"`+strings.Repeat("x", maxKeptParams)+`"}`)
	large.send(a.loop, "2", "access_token", `{"token":"b"}`) // nobody knows what it would go over
	wantReceived(t, large, errorReply("2", "room:b", "payload too large"))
	a.wantQuiet()
}

// TestReauthorizeAndTheEnd: an answer that finds the channel gone is dropped, and what came before the end of the socket is handed over all the same.
func TestReauthorizeAndTheEnd(t *testing.T) {
	a := newAuthzLoop(t, nil)
	ch := a.join("", "room:a", `{}`)
	ch.send(a.loop, "2", "token", `{}`)
	ch.send(a.loop, "3", "wave", `{}`)
	a.abort(ch.socket, causeClient)
	if ch.state != draining {
		t.Fatalf("state %d, want draining", ch.state)
	}
	a.answer(refuse(), nil)
	if ch.state != ended || a.bus.casts != 1 || !slices.Equal(a.bus.left, []string{"disconnected"}) {
		t.Errorf("state %d, %d casts, left %v", ch.state, a.bus.casts, a.bus.left)
	}
	other := a.join("", "room:a", `{}`)
	other.send(a.loop, "2", "token", `{}`)
	a.closeChannel(other, leftClosed)
	turn(a.loop)
	received(t, other)
	a.answer(refuse(), nil)
	wantReceived(t, other)
}

// TestJoinsTogether: the joins of one read of one socket are asked about in one piece, those of others apart.
func TestJoinsTogether(t *testing.T) {
	a := newAuthzLoop(t, nil)
	s := openSocket(a.loop, keeping(), phx.V2)
	var frames []byte
	for i := range 40 {
		frames = append(frames, clientText(fmt.Sprintf(`["%d","%d","room:%d","phx_join",{}]`, i, i, i))...)
	}
	a.feed(s, frames) // before any turn ends
	a.feed(openSocket(a.loop, keeping(), phx.V2), clientText(`["1","1","room:1","phx_join",{}]`))
	if !slices.Equal(a.service.pieces, []int{40, 1}) {
		t.Fatalf("asked in pieces of %v, want 40 and 1", a.service.pieces)
	}
	for len(a.service.asks) > 0 {
		a.answer(allow(), nil)
	}
	// What two sockets cause in one turn is told apart.
	b := a.join("user:2", "room:1", `{}`)
	a.service.pieces = nil
	a.setID(s, "user:2")
	a.srv.RecheckSocket("user:2")
	turn(a.loop)
	slices.Sort(a.service.pieces)
	if !slices.Equal(a.service.pieces, []int{1, 40}) || b.state != joined {
		t.Errorf("rechecked in pieces of %v, want 1 and 40", a.service.pieces)
	}
}

// TestKeptParams: equal params are held once, {} not at all, and no more than may be.
func TestKeptParams(t *testing.T) {
	a := newAuthzLoop(t, func(cfg *Config) { cfg.InboundBytesTotal = 4000 })
	token := `{"token":"` + strings.Repeat("x", 2000) + `"}`
	s := openSocket(a.loop, keeping(), phx.V2)
	first, second, empty := a.joinSocket(s, "room:1", token), a.joinSocket(s, "room:2", token), a.joinSocket(s, "room:3", `{}`)
	third := a.join("", "room:1", token)
	if got := a.srv.paramsBytes.Load(); got != int64(len(token)) {
		t.Errorf("%d bytes are counted, want %d once", got, len(token))
	}
	if a.params.get(first) != a.params.get(second) || a.params.get(first) != a.params.get(third) || len(a.params.of) != 3 || a.params.get(empty) != noParams {
		t.Errorf("kept %v", a.params.of)
	}
	beyond := a.join("", "room:1", strings.ReplaceAll(token, "x", "y"))
	if a.params.get(beyond) != paramsTooMany {
		t.Errorf("kept %v, although there is no room", a.params.get(beyond))
	}
	beyond.send(a.loop, "2", "token", `{}`)
	wantReceived(t, beyond, errorReply("2", "room:1", "overloaded"))
	open := joinWith(a.loop, a.bus, s, "open:1", `{"token":"none of the authorizer's"}`)
	if open == nil || a.params.of[open] != nil {
		t.Error("params are kept that nobody will be asked about")
	}
	a.abort(s, causeClient)
	a.abort(third.socket, causeClient)
	a.abort(beyond.socket, causeClient)
	if len(a.params.of)+len(a.params.all) != 0 || a.srv.paramsBytes.Load() != 0 {
		t.Errorf("of sockets that are gone: %d, %d, %d bytes", len(a.params.of), len(a.params.all), a.srv.paramsBytes.Load())
	}
}

var errNonsense = errors.New("nonsense")
