package main

import (
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestConnect(t *testing.T) {
	p := startProgram(t, "policy.yaml")
	for _, tc := range []struct {
		name, body string
		allow      bool
		id         string
		assigns    string
	}{
		{"admin", `{"transport":"websocket","auth_token":"ann-secret","peer":"127.0.0.1"}`, true, "user_socket:42",
			`{"name":"Ann","role":"admin","user_id":"42"}`},
		{"anonymous", `{"transport":"longpoll","auth_token":null}`, true, "", `{"role":"anonymous"}`},
		{"unknown token", `{"transport":"websocket","auth_token":"ann-secret2"}`, false, "", ""},
		{"empty token", `{"transport":"websocket","auth_token":""}`, false, "", ""},
		{"not JSON", `{"transport":`, false, "", ""},
		{"empty body", ``, false, "", ""},
		{"null", `null`, false, "", ""},
		{"no request", `{}`, false, "", ""},
		{"token of another type", `{"transport":"websocket","auth_token":["ann-secret"]}`, false, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reply := p.connect(tc.body)
			if reply.Allow != tc.allow || reply.ID != tc.id || reply.HasID != (tc.id != "") || string(reply.Assigns) != tc.assigns {
				t.Errorf("got %+v (assigns %s)", reply, reply.Assigns)
			}
		})
	}
	for _, token := range []string{"ann-secret", "bob-secret"} {
		if strings.Contains(p.logs.String(), token) {
			t.Errorf("the log holds the token %s:\n%s", token, p.logs)
		}
	}
}

func TestJoin(t *testing.T) {
	p := startProgram(t, "policy.yaml")
	const (
		ann      = `{"user_id":"42","name":"Ann","role":"admin"}`
		bob      = `{"user_id":"43","name":"Bob","role":"member"}`
		nobody   = `{"role":"anonymous"}`
		starred  = `{"user_id":"*","name":"Eve","role":"member"}`
		colonned = `{"user_id":"42:x","name":"Eve","role":"member"}`
	)
	for _, tc := range []struct {
		topic, assigns string
		ok             bool
		events         string // joined by commas; "all" where the reply has none
		presenceKey    string
	}{
		{"room:lobby", ann, true, "new_msg,typing,status", "42"},
		{"room:lobby", bob, true, "new_msg,typing,status", "43"},
		{"room:lobby", nobody, true, "", ""},
		{"staff:1", ann, true, "all", "42"},
		{"staff:1", bob, false, "", ""},
		{"staff:1", nobody, false, "", ""},
		{"user:42:inbox", ann, true, "all", ""},
		{"user:42:inbox", bob, false, "", ""},
		{"user:42:inbox", nobody, false, "", ""},
		{"user:42:inbox", starred, false, "", ""},
		{"user:42:x:inbox", colonned, false, "", ""},
		{"user:42", ann, false, "", ""},
		{"lobby", ann, false, "", ""},
		{"room:lobby", `{}`, false, "", ""},
	} {
		reply := p.join(`{"topic":"` + tc.topic + `","params":{},"channel":"g.s.1","socket":{"assigns":` + tc.assigns + `}}`)
		events := "all"
		if reply.HasEvents {
			events = strings.Join(reply.Events, ",")
		}
		presenceKey := ""
		if reply.Presence != nil {
			presenceKey = reply.Presence.Key
		}
		if reply.OK != tc.ok || tc.ok && (events != tc.events || presenceKey != tc.presenceKey) {
			t.Errorf("%s by %s: got %+v", tc.topic, tc.assigns, reply)
		}
		if want := `{"reason":"unauthorized"}`; !tc.ok && string(reply.Response) != want {
			t.Errorf("%s by %s: got response %s, want %s", tc.topic, tc.assigns, reply.Response, want)
		}
	}
	for _, body := range []string{``, `null`, `{}`, `{"topic":`, `{"topic":42}`, `{"topic":"room:lobby","socket":"me"}`, "\xff"} {
		if reply := p.join(body); reply.OK || string(reply.Response) != `{"reason":"bad request"}` {
			t.Errorf("%q: got %+v (response %s)", body, reply, reply.Response)
		}
	}
}

func TestManyRequestsAtOnceWhileThePolicyIsReloaded(t *testing.T) {
	path := writePolicy(t, "anonymous: true")
	p := startProgram(t, path)
	var askers sync.WaitGroup
	for range 8 {
		askers.Go(func() {
			for range 100 {
				p.connect(`{"transport":"websocket","auth_token":null}`)
			}
		})
	}
	p.hangups <- syscall.SIGHUP
	askers.Wait()
	p.waitForLog("policy reloaded")
}

func TestReload(t *testing.T) {
	path := writePolicy(t, "anonymous: true")
	p := startProgram(t, path)
	wantAnonymous := func(allowed bool) {
		t.Helper()
		if reply := p.connect(`{"transport":"websocket","auth_token":null}`); reply.Allow != allowed {
			t.Fatalf("anonymous allowed: %v, want %v", reply.Allow, allowed)
		}
	}
	wantAnonymous(true)
	overwrite(t, path, "anonymous: maybe")
	p.hangups <- syscall.SIGHUP
	p.waitForLog("policy refused, the old one stays")
	wantAnonymous(true)
	overwrite(t, path, "anonymous: false")
	p.hangups <- syscall.SIGHUP
	p.waitForLog("policy reloaded")
	wantAnonymous(false)
}

func TestWaitsForNATS(t *testing.T) {
	first := startNATS(t, -1)
	url, port := first.ClientURL(), first.Addr().(*net.TCPAddr).Port
	first.Shutdown()
	first.WaitForShutdown()
	p := runProgram(t, url, "policy.yaml")
	p.waitForLog("connected=false")
	startNATS(t, port)
	p.waitForLog("msg=connected")
	p.dial(url)
	if !p.connect(`{"transport":"websocket","auth_token":"bob-secret"}`).Allow {
		t.Error("refused")
	}
}

// TestREADME sends the requests of README.md, each followed by its answer.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "policy.yaml")
	examples := regexp.MustCompile(`(?m)^ +nats request phx\.(\S+) '(.*)'\n +(\{.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(examples) < 5 {
		t.Errorf("%d examples", len(examples))
	}
	for _, example := range examples {
		if got := string(p.request("a.b."+example[1], example[2])); got != example[3] {
			t.Errorf("%s %s\n got %s\nwant %s", example[1], example[2], got, example[3])
		}
	}
}

func TestMistakesStopTheStart(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-policy", "no-such-file.yaml"}, "no-such-file.yaml"},
		{[]string{"-policy", writePolicy(t, "anonymous: [")}, "yaml"},
		{[]string{"-nats", "nats://127.0.0.1:x", "-policy", "policy.yaml"}, "connect to NATS"},
		{[]string{"-polcy", "policy.yaml"}, "-polcy"},
		{[]string{"policy.yaml"}, "unexpected argument"},
	} {
		err := run(t.Context(), tc.args, nil, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: got %v, want %q in it", tc.args, err, tc.want)
		}
	}
}
