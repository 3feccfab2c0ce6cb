package phxtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// play runs steps against the server that does what it is told.
func play(t *testing.T, url, steps string) error {
	t.Helper()
	text := fmt.Sprintf(`{"transcripts":[{"name":"a test","level":"must","about":"","steps":[%s]}]}`, steps)
	all, err := LoadTranscripts(fstest.MapFS{"own.json": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Base: map[string]string{"/socket": url, "/moved": url + "/pre"}, Path: map[string]string{"/moved": "/there"}}
	return Run(context.Background(), target, all[0])
}

func TestRunSteps(t *testing.T) {
	url := startObedient(t)
	const open = `{"open":"A","path":"/socket/websocket","query":{"vsn":"2.0.0"}},`
	// say has the server send texts.
	say := func(texts ...string) string {
		var list []string
		for _, text := range texts {
			list = append(list, fmt.Sprintf(`{"text":%q}`, text))
		}
		return `{"as":"A","send":{"do":[` + strings.Join(list, ",") + `]}},`
	}
	const one, two, three = `["1"]`, `["2"]`, `["3"]`
	for _, test := range []struct {
		name, steps string
		fails       string // part of the error; empty: no error
	}{
		{"send and recv", open + `{"as":"A","send":["x",null]},{"as":"A","recv":["x",null]}`, ""},
		{"recv of null", open + `{"as":"A","send":null},{"as":"A","recv":null}`, ""},
		{"recv of something else", open + `{"as":"A","send":[1]},{"as":"A","recv":[2]}`, "step 3: got [1]"},
		{"recv of binary", open + `{"as":"A","send_hex":"5b5d"},{"as":"A","recv":[]}`, "got hex:5b5d"},
		{"recv after the close", open + `{"as":"A","send":{"do":[{"close":1011}]}},{"as":"A","recv":[]}`, "closed 1011"},
		{"coalesced", open + say(one, two, three) + `{"as":"A","recv":["1"]},{"as":"A","recv":["2"]},{"as":"A","recv":["3"]}`, ""},
		{"hex", open + `{"as":"A","send_hex":""},{"as":"A","recv_hex":""},{"as":"A","send_hex":"00ff"},{"as":"A","recv_hex":"00ff"}`, ""},
		{"other hex", open + `{"as":"A","send_hex":"00"},{"as":"A","recv_hex":"01"}`, "got hex:00"},
		{"text is not hex", open + `{"as":"A","send_text":"a"},{"as":"A","recv_hex":"61"}`, "got a"},
		{"bind", open + say(`["v"]`) + `{"as":"A","recv":[{"$bind":"x"}]},{"as":"A","send":{"k":{"$bind":"x"}}},{"as":"A","recv":{"k":"v"}}`, ""},
		{"repeat", open + `{"as":"A","send":{"$repeat":["ab",3]}},{"as":"A","recv":"ababab"}`, ""},
		{"until", open + say(one, two, three) + `{"as":"A","recv_until":["2"]},{"as":"A","recv":["3"]}`, ""},
		{"until the close", open + `{"as":"A","send":{"do":[{"text":"[]"},{"close":1001}]}},{"as":"A","recv_until":["2"]}`, "closed 1001"},

		{"set", open + say(two, one) + `{"as":"A","recv_set":[["1"],["2"]]}`, ""},
		{"set with a stranger", open + say(two, three) + `{"as":"A","recv_set":[["1"],["2"]]}`, `got ["3"]`},
		{"set with one twice", open + say(two, two) + `{"as":"A","recv_set":[["1"],["2"]]}`, `got ["2"]`},
		{"set cut short", open + `{"as":"A","send":{"do":[{"text":"[\"1\"]"},{"close":1001}]}},{"as":"A","recv_set":[["1"],["2"]]}`, "after 1 of the frames: closed"},
		{"set that has to go back", open + say(two, one) + `{"as":"A","recv_set":[[{"$type":"string"}],["2"]]}`, ""},
		{"set that binds", open + say(two, one) + `{"as":"A","recv_set":[["1"],[{"$bind":"x"}]]},{"as":"A","send":{"$bind":"x"}},{"as":"A","recv":"2"}`, ""},
		{"optional before", open + say(three, two, one) + `{"as":"A","recv_set":[["1"],["2"]],"optional":[["3"]]},{"as":"A","quiet_ms":10}`, ""},
		{"optional after", open + say(two, one, three) + `{"as":"A","recv_set":[["1"],["2"]],"optional":[["3"]]},{"as":"A","quiet_ms":10}`, ""},
		{"optional absent", open + say(two, one) + `{"as":"A","recv_set":[["1"],["2"]],"optional":[["3"]]},{"as":"A","quiet_ms":10}`, ""},
		{"optional and another", open + say(two, one, `["4"]`) + `{"as":"A","recv_set":[["1"],["2"]],"optional":[["3"]]},{"as":"A","recv":["4"]}`, ""},
		{"optional once", open + say(two, three, three, one) + `{"as":"A","recv_set":[["1"],["2"]],"optional":[["3"]]}`, `got ["3"]`},
		{"optional in the place of none", open + say(three) + `{"as":"A","send":{"do":[{"close":1001}]}},{"as":"A","recv_set":[["1"]],"optional":[["3"]]}`, "closed 1001"},

		{"quiet", open + `{"as":"A","quiet_ms":10}`, ""},
		{"not quiet", open + say(one) + `{"as":"A","quiet_ms":5000}`, `got ["1"]`},
		{"not quiet but closed", open + `{"as":"A","send":{"do":[{"close":1001}]}},{"as":"A","quiet_ms":5000}`, "closed 1001"},
		{"drain", open + say(one) + `{"as":"A","send":"s"},{"as":"A","recv_until":"s"},{"as":"A","drain":true},{"as":"A","quiet_ms":10}`, ""},
		{"closed", open + `{"as":"A","send":{"do":[{"close":1009}]}},{"as":"A","closed":[1011,1009]}`, ""},
		{"closed otherwise", open + `{"as":"A","send":{"do":[{"close":1001}]}},{"as":"A","closed":[1011]}`, "closed 1001"},
		{"closed after a frame", open + `{"as":"A","send":{"do":[{"text":"a"},{"close":1001}]}},{"as":"A","closed":[1001]}`, "got a"},
		{"ended is 1006", open + `{"as":"A","send":{"do":[{"end":true}]}},{"as":"A","closed":[1009,1006]}`, ""},
		{"close", open + `{"as":"A","close":1000}`, ""},
		{"kill", open + `{"as":"A","kill":true},{"as":"A","closed":[1006]}`, ""},
		{"sleep", `{"sleep_ms":1}`, ""},
		{"sleep alone does nothing on a connection", open + `{"as":"A"}`, "does nothing"},
		{"no such connection", open + `{"as":"B","recv":[]}`, `"B"`},

		{"protocol", `{"open":"A","path":"/socket/websocket","query":{},"protocols":["x","phoenix"],"expect_protocol":"phoenix"}`, ""},
		{"other protocol", `{"open":"A","path":"/socket/websocket","query":{},"expect_protocol":"phoenix"}`, `subprotocol ""`},
		{"refused", `{"open":"A","path":"/socket/websocket","query":{"reject":"true"}}`, "403"},
		{"unknown mount", `{"open":"A","path":"/other/websocket","query":{}}`, "/other"},
		{"moved mount", `{"open":"A","path":"/moved/websocket","query":{}},{"as":"A","send":1},{"as":"A","recv":1}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := play(t, url, test.steps)
			switch {
			case test.fails == "" && err != nil:
				t.Error(err)
			case test.fails != "" && err == nil:
				t.Errorf("no error, want one with %q", test.fails)
			case err != nil && !strings.Contains(err.Error(), test.fails):
				t.Errorf("error without %q: %v", test.fails, err)
			}
		})
	}
}

func TestRunErrorIsReadable(t *testing.T) {
	err := play(t, startObedient(t), `{"open":"A","path":"/socket/websocket","query":{"vsn":"2.0.0"}},{"as":"A","send":["hi"]},{"as":"A","recv":["ho"]}`)
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"own.json", `"a test"`, "step 3", `step: {"as":"A","recv":["ho"]}`, `A → ["hi"]`, `A ← ["hi"]`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in: %v", part, err)
		}
	}
}

func TestRunHTTP(t *testing.T) {
	url := startObedient(t)
	const upgrade = `"headers":{"Connection":"Upgrade","Upgrade":"websocket","Sec-WebSocket-Version":"13","Sec-WebSocket-Key":"dGhlIHNhbXBsZSBub25jZQ=="}`
	const body = `{"status":200,"query":{"$bind":"q"},"body":{"$type":"string"},"tok":{"$type":"string"},"messages":["[\"a\"]","[\"b\"]"]}`
	const poll = `{"method":"GET","path":"/socket/longpoll","query":{"tok":"x"}}`
	for _, test := range []struct{ name, steps, fails string }{
		{"101", `{"http":{"method":"GET","path":"/socket/websocket",` + upgrade + `},"expect":{"status":101,"headers":{"upgrade":"websocket","x-none":null}}}`, ""},
		{"header that is there", `{"http":{"method":"GET","path":"/socket/websocket",` + upgrade + `},"expect":{"headers":{"Upgrade":null}}}`, "header Upgrade"},
		{"header that is missing", `{"http":` + poll + `,"expect":{"headers":{"x-none":"1"}}}`, "header x-none"},
		{"refused, exact body", `{"http":{"method":"GET","path":"/socket/websocket","query":{"reject":"true"},` + upgrade + `},"expect":{"status":403,"body":""}}`, ""},
		{"other status", `{"http":` + poll + `,"expect":{"status":404}}`, "status 200, want 404"},
		{"other body", `{"http":` + poll + `,"expect":{"body":""}}`, "body {"},
		{"method", `{"http":{"method":"PUT","path":"/socket/longpoll"},"expect":{"status":200,"headers":{"x-method":"PUT"}}}`, ""},
		{"pattern, bindings, encoding", `{"http":{"method":"GET","path":"/socket/longpoll","query":{"vsn":"2.0.0+b","a":"ż /"}},"expect":{"json":` + body + `}},
			{"http":{"method":"POST","path":"/socket/longpoll","query":{},"headers":{"x-tok":{"$bind":"q"}},"body":"l1\nl2"},
			"expect":{"status":200,"json":{"status":200,"query":"","body":"l1\nl2","tok":"a=%C5%BC%20%2F&vsn=2.0.0%2Bb","messages":[{"$json":["a"]},{"$json":["b"]}]}}}`, ""},
		{"json that does not match", `{"http":` + poll + `,"expect":{"json":{}}}`, "does not match"},
		{"start and finish", `{"http_start":` + poll + `,"as":"g"},{"sleep_ms":1},{"http_finish":"g","expect":{"status":200}}`, ""},
		{"start and finish otherwise", `{"http_start":` + poll + `,"as":"g"},{"http_finish":"g","expect":{"status":204}}`, "want 204"},
		{"start without finish", `{"http_start":` + poll + `,"as":"g"}`, ""},
		{"finish without start", `{"http_finish":"g","expect":{}}`, `"g"`},
		{"collect over two polls", `{"http_collect":` + poll + `,"messages":[["a"],["b"],["a"],["b"]]}`, ""},
		{"collect of another", `{"http_collect":` + poll + `,"messages":[["a"],["c"]]}`, "message 2"},
		{"collect of one too many", `{"http_collect":` + poll + `,"messages":[["a"],["b"],["a"]]}`, "after the last message"},
		{"collect refused", `{"http_collect":{"method":"GET","path":"/socket/websocket","query":{"reject":"true"}},"messages":[["a"]]}`, "status 403"},
		{"unbound", `{"http":{"method":"GET","path":"/socket/longpoll","query":{"t":{"$bind":"x"}}},"expect":{}}`, "not bound"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := play(t, url, test.steps)
			switch {
			case test.fails == "" && err != nil:
				t.Error(err)
			case test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)):
				t.Errorf("want an error with %q, got: %v", test.fails, err)
			}
		})
	}
}
