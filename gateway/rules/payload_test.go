package rules

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
)

var env = Env{
	Assigns:  []byte(`{"user_id":"42","n": 1.50 ,"null":null,"a":{"b":[1, 2]},"claims":{"sub":"s","x":{"y":true}},"d":1,"d":2}`),
	Params:   []byte(` {"token":"t","é":"\u00e9"} `),
	SocketID: `user_socket:"42"`,
}

func mustSource(t testing.TB, text string) Source {
	t.Helper()
	s, err := parseSource(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		source string
		env    Env
		want   string // "" where it is not there
	}{
		{"assigns.user_id", env, `"42"`},
		{"assigns.n", env, `1.50`},
		{"assigns.null", env, `null`},
		{"assigns.a", env, `{"b":[1, 2]}`},
		{"assigns.a.b", env, `[1, 2]`},
		{"assigns.a.b.c", env, ""},
		{"assigns.user_id.x", env, ""},
		{"assigns.d", env, `2`},
		{"assigns.x", env, ""},
		{"claims.sub", env, `"s"`},
		{"claims.x.y", env, `true`},
		{"assigns.claims.sub", env, `"s"`},
		{"claims.user_id", env, ""},
		{"params.token", env, `"t"`},
		{"params.é", env, `"\u00e9"`},
		{"params.user_id", env, ""},
		{"socket.id", env, `"user_socket:\"42\""`},
		{"socket.id", Env{}, ""},
		{"assigns.x", Env{}, ""},
		{"params.x", Env{Params: []byte(`[{"x":1}]`)}, ""},
		{"params.x", Env{Params: []byte(`"x"`)}, ""},
		{"params.x", Env{Params: []byte(`null`)}, ""},
	} {
		raw, ok := mustSource(t, c.source).Lookup(c.env)
		if string(raw) != c.want || ok != (c.want != "") {
			t.Errorf("%s: %s, %v; want %s", c.source, raw, ok, c.want)
		}
	}
}

func TestParseSourceRefuses(t *testing.T) {
	for _, text := range []string{
		"", "assigns", "assigns.", ".x", "assigns..x", "assigns.x.", "socket", "socket.id.x", "socket.transport", "payload.x", "Assigns.x", "42",
	} {
		if s, err := parseSource(text); err == nil {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

func TestAppendPayload(t *testing.T) {
	set := []Assignment{{Key: "user_id", Source: mustSource(t, "assigns.user_id")}}
	both := append(set[:1:1], Assignment{Key: `q"`, Source: mustSource(t, "assigns.none")})
	for _, c := range []struct {
		payload string
		set     []Assignment
		want    string
	}{
		{`{ "a" : 1 }`, nil, `{ "a" : 1 }`},
		{`{}`, set, `{"user_id":"42"}`},
		{" {\n} ", set, `{"user_id":"42"}`},
		{`{"body":"hi"}`, set, `{"body":"hi","user_id":"42"}`},
		{`{"user_id":"7","body":"hi"}`, set, `{"body":"hi","user_id":"42"}`},
		{`{"a":1,"user_id":{"user_id":"7"},"b":2,"user_id":null}`, set, `{"a":1,"b":2,"user_id":"42"}`},
		{`{"\u0075ser_id":"7"}`, set, `{"user_id":"42"}`},
		{`{"user\u005fid":"7","a":1}`, set, `{"a":1,"user_id":"42"}`},
		{`{"z":1.0e+2,"\u00e9\"\\":"\u00e9","a":[ 1 ],"a":{"user_id":"7"}}`, set, `{"z":1.0e+2,"\u00e9\"\\":"\u00e9","a":[ 1 ],"a":{"user_id":"7"},"user_id":"42"}`},
		{" {\t\"a\" :\r\n 1 , \"b\":2 } ", set, "{\"a\" :\r\n 1,\"b\":2,\"user_id\":\"42\"}"},
		{`{"q\"":"claimed"}`, both, `{"user_id":"42","q\"":null}`},
		{`{"User_id":"7","":0}`, set, `{"User_id":"7","":0,"user_id":"42"}`},
	} {
		if got := string(AppendPayload([]byte("x"), []byte(c.payload), c.set, env)); got != "x"+c.want {
			t.Errorf("%s\n got %s\nwant x%s", c.payload, got, c.want)
		}
	}
}

func FuzzAppendPayload(f *testing.F) {
	f.Add([]byte(`{"user_id":"7","a":[1,{"b":2}],"\u0075ser_id":1}`), "user_id", "id")
	f.Add([]byte(" {\"\\\\\" :\n 1.0 , \"\\\"\" : null } "), `\`, `"`)
	f.Add([]byte(`{}`), "", "é")
	sources := []string{"assigns.user_id", "params.none", "socket.id"}
	var parsed []Source
	for _, text := range sources {
		parsed = append(parsed, mustSource(f, text))
	}
	f.Fuzz(func(t *testing.T, payload []byte, key1, key2 string) {
		var model map[string]json.RawMessage
		if phx.CheckPayload(payload) != nil || json.Unmarshal(payload, &model) != nil {
			t.Skip()
		}
		// A rules file is UTF-8 and has no key twice.
		set := []Assignment{{Key: normal(key1), Source: parsed[0]}}
		if key := normal(key2); key != set[0].Key {
			set = append(set, Assignment{Key: key, Source: parsed[1]})
		}
		if key := normal(key1 + key2); key != set[0].Key && key != set[len(set)-1].Key {
			set = append(set, Assignment{Key: key, Source: parsed[2]})
		}
		for _, a := range set {
			model[a.Key] = json.RawMessage("null")
			if raw, ok := a.Source.Lookup(env); ok {
				model[a.Key] = raw
			}
		}
		got := AppendPayload(nil, payload, set, env)
		if err := phx.CheckPayload(got); err != nil {
			t.Fatalf("%q became %q: %v", payload, got, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(got, &members); err != nil {
			t.Fatalf("%q became %q: %v", payload, got, err)
		}
		if !reflect.DeepEqual(members, model) {
			t.Fatalf("%q became %q, want the members %s", payload, got, model)
		}
		// Members of a set key may not be left even where a later one hides them.
		for _, a := range set {
			n := 0
			phx.EachMember(got, func(key, _ []byte) bool {
				if string(key) == a.Key {
					n++
				}
				return true
			})
			if n != 1 {
				t.Fatalf("%q became %q with %d members %q", payload, got, n, a.Key)
			}
		}
	})
}

// normal returns s with what is not UTF-8 replaced.
func normal(s string) string {
	b, _ := json.Marshal(s)
	_ = json.Unmarshal(b, &s)
	return s
}

func BenchmarkAppendPayload(b *testing.B) {
	set := []Assignment{{Key: "user_id", Source: mustSource(b, "assigns.user_id")}}
	payload := []byte(`{"body":"hello, everybody","user_id":"7","at":1767225600}`)
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPayload(buf[:0], payload, set, env)
	}
}
