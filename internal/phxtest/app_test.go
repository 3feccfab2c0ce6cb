package phxtest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.yaml.in/yaml/v3"
)

const testPrefix = "a.fleet" // of two tokens, as an operator may set it

// startTestApp runs the app and returns a connection that plays the gateway.
func startTestApp(t *testing.T) (*App, *nats.Conn) {
	t.Helper()
	url := StartNATS(t)
	a := StartApp(t, url, testPrefix)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return a, nc
}

func ask(t *testing.T, nc *nats.Conn, subject, body string, headers ...string) *nats.Msg {
	t.Helper()
	msg := nats.NewMsg(testPrefix + "." + subject)
	msg.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	reply, err := nc.RequestMsg(msg, Patience())
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return reply
}

func wantMatch(t *testing.T, what string, pattern string, text []byte) {
	t.Helper()
	if _, ok, err := Match([]byte(pattern), text, nil); !ok || err != nil {
		t.Errorf("%s: %s, %v, want %s", what, text, err, pattern)
	}
}

func TestAppConnect(t *testing.T) {
	_, nc := startTestApp(t)
	for params, want := range map[string]string{
		`{}`:                           `{"allow":true}`,
		`{"uid":"7"}`:                  `{"allow":true,"id":"user_socket:7"}`,
		`{"reject":"false","uid":""}`:  `{"allow":true,"id":"user_socket:"}`,
		`{"reject":"true","uid":"7"}`:  `{"allow":false,"reason":{"$type":"string"}}`,
		`{"nested":{"a":"b"},"x":"y"}`: `{"allow":true}`,
	} {
		request := fmt.Sprintf(`{"transport":"websocket","vsn":"2.0.0","params":%s,"auth_token":null,"claims":null,"peer":"127.0.0.1","headers":{}}`, params)
		wantMatch(t, params, want, ask(t, nc, "authz.connect", request).Data)
	}
}

func TestAppJoin(t *testing.T) {
	_, nc := startTestApp(t)
	for params, want := range map[string]string{
		`{}`:                             `{"status":"ok"}`,
		`null`:                           `{"status":"ok"}`,
		`"text"`:                         `{"status":"ok"}`,
		`{"reply":{"seats":3}}`:          `{"status":"ok","response":{"seats":3}}`,
		`{"reply":null}`:                 `{"status":"ok","response":null}`,
		`{"sleep_ms":20,"reply":1}`:      `{"status":"ok","response":1}`,
		`{"deny":{"why":1},"boom":true}`: `{"status":"error","response":{"why":1}}`,
		`{"boom":true,"reply":1}`:        `{"status":"error","response":{"reason":"join crashed"}}`,
		`{"boom":false}`:                 `{"status":"ok"}`,
		`{"presence":{}}`:                `{"status":"ok","presence":{}}`,
		`{"presence":{"key":42,"meta":{"x":1}},"reply":1}`: `{"status":"ok","response":1,"presence":{"key":42,"meta":{"x":1}}}`,
	} {
		request := fmt.Sprintf(`{"topic":"room:a","params":%s,"channel":"g.s.1","socket":{"id":null,"assigns":{}}}`, params)
		wantMatch(t, params, want, ask(t, nc, "authz.join", request).Data)
	}
}

// A join that takes long holds up neither other joins nor events.
func TestAppSlowJoin(t *testing.T) {
	_, nc := startTestApp(t)
	slow, err := nc.SubscribeSync("slow")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(testPrefix+".authz.join", "slow", []byte(`{"params":{"sleep_ms":60000}}`)); err != nil {
		t.Fatal(err)
	}
	wantMatch(t, "other join", `{"status":"ok"}`, ask(t, nc, "authz.join", `{"params":{}}`).Data)
	wantMatch(t, "event", `{"x":1}`, event(t, nc, "echo", `{"x":1}`).Data)
	if n, _, err := slow.Pending(); n != 0 || err != nil {
		t.Errorf("the slow join was answered (%d, %v)", n, err)
	}
}

func event(t *testing.T, nc *nats.Conn, name, body string, more ...string) *nats.Msg {
	t.Helper()
	headers := append([]string{"Phx-Event", HeaderValue(name), "Phx-Topic", "room:a", "Phx-Channel", "g.s.1"}, more...)
	return ask(t, nc, "event."+Token(name)+"."+TopicTokens("room:a"), body, headers...)
}

func TestAppEvents(t *testing.T) {
	_, nc := startTestApp(t)
	for _, test := range []struct {
		event, body            string
		status, action, answer string
	}{
		{"ok", `{"a":1}`, "", "", ""},
		{"echo", `{"a":[1,null]}`, "ok", "", `{"a":[1,null]}`},
		{"echo", `null`, "ok", "", `null`},
		{"fail", `{"why":"x"}`, "error", "", `{"why":"x"}`},
		{"status", `{"status":"queued"}`, "queued", "", ""},
		{"silent", `{}`, "none", "", ""},
		{"stop", `{"reason":"normal"}`, "none", "close", ""},
		{"stop", `{"reason":"shutdown"}`, "none", "close", ""},
		{"stop", `{"reason":"other"}`, "", "crash", ""},
		{"stop", `[]`, "", "crash", ""},
		{"stop_reply", `{"bye":1}`, "ok", "close", `{"bye":1}`},
		{"crash", `{}`, "", "crash", ""},
		{"no such event.", `{}`, "", "crash", ""},
	} {
		r := event(t, nc, test.event, test.body)
		if got := r.Header.Get("Phx-Status"); got != test.status {
			t.Errorf("%s %s: status %q, want %q", test.event, test.body, got, test.status)
		}
		if got := r.Header.Get("Phx-Action"); got != test.action {
			t.Errorf("%s %s: action %q, want %q", test.event, test.body, got, test.action)
		}
		if string(r.Data) != test.answer {
			t.Errorf("%s %s: answer %s, want %s", test.event, test.body, r.Data, test.answer)
		}
	}
	r := event(t, nc, "fail", "\x00\xff", "Phx-Encoding", "binary")
	if string(r.Data) != "\x00\xff" || r.Header.Get("Phx-Encoding") != "binary" || r.Header.Get("Phx-Status") != "error" {
		t.Errorf("binary: %q %v", r.Data, r.Header)
	}
}

func TestAppStopsWithItsTest(t *testing.T) {
	url := StartNATS(t)
	t.Run("inner", func(t *testing.T) {
		StartApp(t, url, testPrefix)
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		// It is stopped in the middle of this join.
		if err := nc.PublishRequest(testPrefix+".authz.join", "nobody", []byte(`{"params":{"sleep_ms":60000}}`)); err != nil {
			t.Fatal(err)
		}
		event(t, nc, "ok", `{}`)
	})
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if r, err := nc.Request(testPrefix+".authz.join", []byte(`{}`), time.Second); err == nil {
		t.Errorf("still answering: %s", r.Data)
	}
}

func TestAppRules(t *testing.T) {
	a, _ := startTestApp(t)
	text, err := os.ReadFile(a.RulesFile())
	if err != nil {
		t.Fatal(err)
	}
	var rules any
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	got, err := encodeJSON(rules)
	if err != nil {
		t.Fatal(err)
	}
	wantMatch(t, "rules", `{"channels":[{"topic":"room:*","join":"authz","events":[{"event":"*","do":"call"}]}]}`, got)
}
