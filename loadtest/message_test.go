package main

import (
	"strings"
	"testing"
)

func TestParseMessage(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string // joinRef, ref, topic, event, payload; nil: not a message
	}{
		{`["1","2","room:1","phx_reply",{"status":"ok"}]`, []string{`"1"`, `"2"`, `"room:1"`, `"phx_reply"`, `{"status":"ok"}]`}},
		{`[null,null,"a\"],b","e",{}]`, []string{`null`, `null`, `"a\"],b"`, `"e"`, `{}]`}},
		{" [ 1 , [2,\"]\"] ,\n\"t\" , {\"}\":1} , 5 ]", []string{`1`, `[2,"]"]`, `"t"`, `{"}":1}`, `5 ]`}},
		{`[null,null,"t","e",{"cut`, []string{`null`, `null`, `"t"`, `"e"`, `{"cut`}},
		{``, nil},
		{`{}`, nil},
		{`[]`, nil},
		{`[1,2,3,4]`, nil},
		{`[1,2,3`, nil},
		{`[1,2,"t`, nil},
		{`[,,,,]`, nil},
	} {
		m, ok := parseMessage([]byte(test.text))
		if ok != (test.want != nil) {
			t.Errorf("%s: ok %v", test.text, ok)
		}
		if !ok {
			continue
		}
		got := []string{string(m.joinRef), string(m.ref), string(m.topic), string(m.event), string(m.payload)}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%s: got %q, want %q", test.text, got, test.want)
		}
		if from := string(m.fromTopic); !strings.HasPrefix(from, test.want[2]) || !strings.HasSuffix(from, test.want[4]) {
			t.Errorf("%s: from topic %q", test.text, from)
		}
	}
}

func TestField(t *testing.T) {
	for _, test := range []struct{ object, want string }{
		{`{"status":"ok","response":{}}`, `"ok"`},
		{`{"response":{"status":"error"},"status":"ok"}]`, `"ok"`},
		{`{ "response" : [1,{"status":2}] , "status" : "error" }`, `"error"`},
		{`{"response":{"status":"ok"}}`, ``},
		{`{"response":{"status":"ok`, ``},
		{`{}`, ``},
		{`[]`, ``},
		{``, ``},
	} {
		if got := string(field([]byte(test.object), "status")); got != test.want {
			t.Errorf("%s: got %s, want %s", test.object, got, test.want)
		}
	}
}

func TestIsReply(t *testing.T) {
	for text, want := range map[string]bool{
		`["1","1","t","phx_reply",{}]`:   true,
		`["1","11","t","phx_reply",{}]`:  false,
		`["1",1,"t","phx_reply",{}]`:     false,
		`["1",null,"t","phx_reply",{}]`:  false,
		`["1","1","t","phx_replied",{}]`: false,
	} {
		m, ok := parseMessage([]byte(text))
		if !ok || m.isReply("1") != want {
			t.Errorf("%s: reply %v, want %v", text, m.isReply("1"), want)
		}
	}
}
