package presence

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func (d *desk) list(topic, body string) (answer string) {
	d.t.Helper()
	d.s.List(topic, []byte(body), func(b []byte) { answer += string(b) })
	d.work()
	return answer
}

func (d *desk) check(topics ...CheckTopic) {
	for _, c := range topics {
		d.s.Check(Partition(c.Topic), mustJSON(Check{Gateway: "g1", Topics: []CheckTopic{c}}))
	}
	d.work()
}

func TestCheck(t *testing.T) {
	d := newDesk(t, merge)
	d.register("g1=a", Registration{})
	d.put("g1=a", "e1", "room:1", "ann")
	d.forget()
	hash := d.s.state.Topic("room:1").Hash()
	d.check(CheckTopic{Topic: "room:1"})
	d.wantSent("state g1 room:1 rev 2 same false part 0/1")
	d.check(CheckTopic{Topic: "room:1", Epoch: 7, Rev: 2, Hash: hash})
	d.wantSent("state g1 room:1 rev 2 same true part 0/0")
	d.check(CheckTopic{Topic: "room:1", Epoch: 7, Rev: 2, Hash: hash + 1})
	d.wantSent("state g1 room:1 rev 2 same false part 0/1")
	d.check(CheckTopic{Topic: "nobody"}, CheckTopic{Topic: "nobody", Epoch: 7, Rev: 1})
	d.wantSent("state g1 nobody rev 2 same false part 0/1", "state g1 nobody rev 2 same true part 0/0")
	d.put("g1=a", "e2", "room:1", "bob") // waits to be merged: a state is taken behind it
	d.check(CheckTopic{Topic: "room:1", Epoch: 7, Rev: 2, Hash: hash})
	d.wantSent("diff room:1 2-3-3 +1 -0", "state g1 room:1 rev 3 same false part 0/1")
	for _, bad := range []string{"", "[]", `{"topics":[{"topic":"room:1"}]}`} {
		d.s.Check(Partition("room:1"), []byte(bad))
	}
	d.s.Check(-1, mustJSON(Check{Gateway: "g1", Topics: []CheckTopic{{Topic: "room:1"}}}))
	d.s.Check(Partitions, mustJSON(Check{Gateway: "g1", Topics: []CheckTopic{{Topic: "room:1"}}}))
	d.work()
	d.wantSent()
}

// TestCheckInParts: a large topic comes in parts, none too large for a message, one after the other.
func TestCheckInParts(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	for i := range 400 {
		meta := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 1000))
		d.record(Record{Incarnation: "g1=a", Entry: fmt.Sprint("e", i), Topic: "room:1", Value: mustJSON(Entry{Key: fmt.Sprint(i), Ref: fmt.Sprint("e", i), Meta: []byte(meta)})})
	}
	d.forget()
	d.check(CheckTopic{Topic: "room:1"})
	if len(d.sent) != 2 {
		t.Fatalf("400 KB came in %d parts", len(d.sent))
	}
	d.wantSent("state g1 room:1 rev 401 same false part 0/2", "state g1 room:1 rev 401 same false part 1/2")
}

func TestList(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	for _, key := range []string{"b", "a", "ä", "B"} {
		d.put("g1=a", "e"+key, "room:1", key)
	}
	for _, c := range []struct{ body, want string }{
		{``, `{"B":{"metas":[{"phx_ref":"eB"}]},"a":{"metas":[{"phx_ref":"ea"}]},"b":{"metas":[{"phx_ref":"eb"}]},"ä":{"metas":[{"phx_ref":"eä"}]}}`},
		{`{"limit":2}`, `{"presences":{"B":{"metas":[{"phx_ref":"eB"}]},"a":{"metas":[{"phx_ref":"ea"}]}},"next":"a"}`},
		{`{"after":"a","limit":2}`, `{"presences":{"b":{"metas":[{"phx_ref":"eb"}]},"ä":{"metas":[{"phx_ref":"eä"}]}},"next":null}`},
		{`{"after":"aa","limit":1}`, `{"presences":{"b":{"metas":[{"phx_ref":"eb"}]}},"next":"b"}`},
		{`{"after":"ä"}`, `{"presences":{},"next":null}`},
		{`{"limit":-1}`, `{"error":"bad request: want nothing, or {\"after\":\"key\",\"limit\":n}"}`},
		{`nonsense`, `{"error":"bad request: want nothing, or {\"after\":\"key\",\"limit\":n}"}`},
	} {
		if got := d.list("room:1", c.body); got != c.want {
			t.Errorf("%s: %s, want %s", c.body, got, c.want)
		}
	}
	if got := d.list("nobody", ""); got != "{}" {
		t.Errorf("nobody: %s", got)
	}
	if got := d.list("nobody", `{"limit":5}`); got != `{"presences":{},"next":null}` {
		t.Errorf("nobody, a page: %s", got)
	}
	d.max = 60
	if got := d.list("room:1", ""); got != `{"error":"too large, ask for pages"}` {
		t.Errorf("too large: %s", got)
	}
	if got := d.list("room:1", `{"limit":1}`); got != `{"presences":{"B":{"metas":[{"phx_ref":"eB"}]}},"next":"B"}` {
		t.Errorf("a page: %s", got)
	}
}

// update makes a backend's order; the answer is "" until it comes.
func (d *desk) update(topic, body string) *string {
	answer := new(string)
	d.s.Update(topic, []byte(body), func(b []byte) { *answer += string(b) })
	d.work()
	return answer
}

func TestUpdate(t *testing.T) {
	d := newDesk(t, 0)
	d.register("g1=a", Registration{})
	const unknown, unavailable = `{"status":"error","reason":"unknown channel"}`, `{"status":"error","reason":"unavailable"}`
	for body, want := range map[string]string{
		`nonsense`: `{"status":"error","reason":"bad request"}`, `{}`: `{"status":"error","reason":"bad request"}`,
		`{"channel":"x"}`: unknown, `{"channel":"a.b"}`: unknown, `{"channel":"a.b.c.d"}`: unknown, `{"channel":"*.b.c"}`: unknown, `{"channel":".b.c"}`: unknown,
		`{"channel":"gone.0.1"}`: unknown,
	} {
		if got := *d.update("room:1", body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	d.answer = func(string, ToGateway) (any, error) { return nil, ErrTimeout }
	if got := *d.update("room:1", `{"channel":"g1.0.1"}`); got != unavailable {
		t.Errorf("no answer in time: %s", got)
	}
	d.answer = func(string, ToGateway) (any, error) { return []int{1}, nil }
	if got := *d.update("room:1", `{"channel":"g1.0.1"}`); got != unavailable {
		t.Errorf("an answer that makes no sense: %s", got)
	}
	var asked ToGateway
	d.answer = func(gateway string, m ToGateway) (any, error) {
		asked = m
		return UpdateReply{Status: "ok", Seq: d.seq + 1}, nil
	}
	answer := d.update("room:1", `{"channel":"g1.0.1","key":"k","op":"track","meta":{"x":1}}`)
	if u, _ := json.Marshal(asked.Update); string(u) != `{"topic":"room:1","channel":"g1.0.1","op":"track","key":"k","meta":{"x":1}}` {
		t.Errorf("the gateway was asked %s", u)
	}
	d.pass(100 * time.Millisecond)
	if *answer != "" {
		t.Errorf("answered %s before the log had brought it", *answer)
	}
	d.put("g1=a", "e1", "room:1", "k")
	d.pass(workEvery)
	if *answer != `{"status":"ok"}` {
		t.Errorf("answered %s", *answer)
	}
	late := d.update("room:1", `{"channel":"g1.0.1"}`)
	d.pass(appliedTimeout + workEvery)
	if *late != `{"status":"ok"}` {
		t.Errorf("where the log is late: %s", *late)
	}
}

// TestUpdateErrorsPass: what a gateway answers is handed on.
func TestUpdateErrorsPass(t *testing.T) {
	d := newDesk(t, 0)
	d.answer = func(string, ToGateway) (any, error) { return UpdateReply{Status: "error", Reason: "not tracked"}, nil }
	if got := *d.update("room:1", `{"channel":"g1.0.1"}`); got != `{"status":"error","reason":"not tracked"}` {
		t.Error(got)
	}
	d.answer = func(string, ToGateway) (any, error) {
		return nil, errors.Join(ErrTimeout, errors.New("connection closed"))
	}
	if got := *d.update("room:1", `{"channel":"g1.0.1"}`); got != `{"status":"error","reason":"unavailable"}` {
		t.Error(got)
	}
}
