package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// decide compiles an expression and asks it about one broadcast and one channel's assigns.
func decide(t *testing.T, text, payload, assigns string) (string, error) {
	t.Helper()
	d, err := compileDeliver(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, ok, err := d.Decide(NewMessage("room:a", "new_msg", []byte(payload), false), ReadInputs(d.InputsOf(nil, []byte(assigns))))
	switch {
	case !ok:
		return "withheld", err
	case out == nil:
		return "delivered", err
	}
	return string(out), err
}

func TestDeliver(t *testing.T) {
	const blocked = `!(payload.user_id in assigns.blocked)`
	for _, tc := range []struct{ text, payload, assigns, want string }{
		{blocked, `{"user_id":7}`, `{"blocked":[1,7]}`, "withheld"},
		{blocked, `{"user_id":7}`, `{"blocked":["7"]}`, "delivered"},
		{blocked, `{"user_id":"ann"}`, `{"blocked":["bob"]}`, "delivered"},
		// Ids beyond what floating point can tell apart.
		{blocked, `{"user_id":9007199254740993}`, `{"blocked":[9007199254740992]}`, "delivered"},
		{blocked, `{"user_id":18446744073709551615}`, `{"blocked":[18446744073709551615]}`, "withheld"},
		{`!(payload.user_id in assigns.?blocked.orValue([]))`, `{"user_id":7}`, `{}`, "delivered"},
		{`has(assigns.role) && assigns.role == "admin" || event != "new_msg"`, `{}`, `{"role":"admin"}`, "delivered"},
		{`has(assigns.role) && assigns.role == "admin" || event != "new_msg"`, `{}`, ``, "withheld"},
		{`assigns["claims"].level >= payload.level`, `{"level":2}`, `{"claims":{"level":2.5}}`, "delivered"},
		{`topic == "room:a" && payload.tags.exists(t, t in assigns.tags)`, `{"tags":["x","y"]}`, `{"tags":["y"]}`, "delivered"},
		{`assigns.admin ? payload : {"body": payload.body}`, `{"ip":"203.0.113.9","body":"hi \"you\" é"}`, `{"admin":false}`, `{"body":"hi \"you\" é"}`},
		{`assigns.admin ? payload : {"body": payload.body}`, `{"ip":"203.0.113.9","body":"hi"}`, `{"admin":true}`, "delivered"},
		{`payload.user in assigns.blocked ? false : payload`, `{"user":1}`, `{"blocked":[1]}`, "withheld"},
		{`payload.user in assigns.blocked ? false : payload.extra`, `{"user":1,"extra":{"user":1}}`, `{"blocked":[]}`, `{"user":1}`},
		{`{"n": payload.n, "f": payload.f, "l": [payload.n, null, true], "to": assigns.name}`, `{"n":9007199254740993,"f":1.5}`, `{"name":"Ann"}`, `{"f":1.5,"l":[9007199254740993,null,true],"n":9007199254740993,"to":"Ann"}`},
	} {
		got, err := decide(t, tc.text, tc.payload, tc.assigns)
		if got != tc.want || err != nil {
			t.Errorf("%s of %s for %s: %s, %v, want %s", tc.text, tc.payload, tc.assigns, got, err, tc.want)
		}
	}
}

// TestDeliverFails: what cannot be evaluated is withheld, and the error quotes nothing of what was sent.
func TestDeliverFails(t *testing.T) {
	long := `{"l":[` + strings.Repeat("1,", 1000) + `1],"secret":"hunter2"}`
	for text, want := range map[string]error{
		`payload.user_id in assigns.blocked`:                            errNoKey,
		`assigns[payload.secret] == 1`:                                  errNoKey,
		`payload.secret + 1 == 2`:                                       errOverload,
		`payload.secret`:                                                errValue,
		`int(payload.secret) == 1`:                                      errOther,
		`payload.l.all(x, payload.l.all(y, x == y))`:                    errCost,
		`{"f": double("inf")}`:                                          errValue,
		`{payload.secret: {1: 2}}`:                                      errValue,
		`{"when": timestamp("2026-01-01T00:00:00Z")}`:                   errValue,
		`payload.l.map(x, payload.secret + payload.secret).size() == 0`: errCost,
	} {
		got, err := decide(t, text, long, `{}`)
		if got != "withheld" || !errors.Is(err, want) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %s, %v, want %v", text, got, err, want)
		}
	}
}

func TestDeliverBinary(t *testing.T) {
	for text, want := range map[string]string{
		`type(payload) == bytes && size(payload) == 3`: "delivered",
		`payload.user_id == 1`:                         "withheld",
		`{"a": 1}`:                                     "withheld",
	} {
		d, err := compileDeliver(text)
		if err != nil {
			t.Fatal(err)
		}
		got := "withheld"
		if out, ok, _ := d.Decide(NewMessage("room:a", "e", []byte{0, 1, 255}, true), ReadInputs(d.InputsOf(nil, nil))); ok && out == nil {
			got = "delivered"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestInputs: members are told apart by what the expression looks at, and by nothing else.
func TestInputs(t *testing.T) {
	const assigns = `{"a":1,"b":{"c":[2]},"é":3,"d":4}`
	for text, want := range map[string]string{
		`event == "x"`:                                       `{}`,
		`assigns.a == 1`:                                     `{"a":1}`,
		`has(assigns.b) && assigns.b.c[0] == 2`:              `{"b":{"c":[2]}}`,
		`assigns["é"] == 3 || assigns.?d.orValue(0) == 0`:    `{"é":3,"d":4}`,
		`assigns[?"a"].hasValue() && assigns.a == 1`:         `{"a":1}`,
		`has(assigns.nobody)`:                                `{}`,
		`size(assigns) == 4`:                                 assigns,
		`assigns[payload.key] == 1`:                          assigns,
		`[1, 2].exists(assigns, assigns == 1)`:               assigns, // another variable of that name: too much, never too little
		`payload.all(k, k in assigns) || "a" in assigns`:     assigns,
		`[assigns].exists(x, x.a == 1)`:                      assigns,
		`{"x": assigns}.x.a == 1`:                            assigns,
		`cel.bind(x, assigns, x.a == 1)`:                     "", // not there
		`payload.x == assigns.a && payload.y == assigns.b.c`: `{"a":1,"b":{"c":[2]}}`,
	} {
		d, err := compileDeliver(text)
		if err != nil {
			if want != "" {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if got := string(d.InputsOf(nil, []byte(assigns))); got != want {
			t.Errorf("%s: inputs %s, want %s", text, got, want)
		}
	}
}

func TestCondition(t *testing.T) {
	const claims = `{"claims":{"sub":"42","rooms":["room:a","room:b"],"role":"staff"},"x":1}`
	for _, tc := range []struct {
		text, params, assigns string
		want                  bool
		err                   error
	}{
		{`topic in claims.rooms`, `{}`, claims, true, nil},
		{`topic in claims.rooms`, `{}`, ``, false, errNoKey},
		{`topic == "room:" + claims.sub`, `{}`, claims, false, nil},
		{`socket.id == "user_socket:42" && socket.assigns.x == 1 && socket.transport == "websocket" && socket.peer.startsWith("203.")`, `{}`, claims, true, nil},
		{`params.password == "sesame"`, `{"password":"sesame"}`, ``, true, nil},
		{`params.password == "sesame"`, `"sesame"`, ``, false, errOther},
		{`params == null`, `null`, ``, true, nil},
		{`params.open`, `{"open":"yes"}`, ``, false, errValue},
		{`params.open`, `{"open":true}`, ``, true, nil},
		{`true`, `"` + strings.Repeat("x", maxConditionParams) + `"`, ``, false, errLarge},
	} {
		c, err := compileCondition(tc.text)
		if err != nil {
			t.Fatalf("%s: %v", tc.text, err)
		}
		got, err := c.Allows(&Joiner{Topic: "room:a", Params: []byte(tc.params), Assigns: []byte(tc.assigns), SocketID: "user_socket:42", Transport: "websocket", Peer: "203.0.113.9"})
		if got != tc.want || (err == nil) != (tc.err == nil) {
			t.Errorf("%s with %s: %t, %v, want %t, %v", tc.text, tc.params, got, err, tc.want, tc.err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	d, err := compileDeliver(`!(payload.user_id in assigns.?blocked.orValue([]))`)
	if err != nil {
		b.Fatal(err)
	}
	m := NewMessage("room:a", "new_msg", []byte(`{"user_id":7,"body":"`+strings.Repeat("x", 200)+`"}`), false)
	inputs := ReadInputs(d.InputsOf(nil, []byte(`{"blocked":[1,2,3,4,5,6,8,9]}`)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := d.Decide(m, inputs); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
