package authz

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestJoinRequestAppend(t *testing.T) {
	id := "user_socket:42"
	for _, tc := range []struct {
		name string
		req  JoinRequest
		want string
	}{
		{"anonymous", JoinRequest{Topic: "lobby", Channel: "g.s.1", Socket: SocketInfo{Transport: "longpoll", Peer: "::1"}},
			`{"topic":"lobby","params":{},"channel":"g.s.1","socket":{"id":null,"assigns":{},"transport":"longpoll","peer":"::1"}}`},
		{"known", JoinRequest{
			Topic: "room:\"é\n", Params: json.RawMessage(`[1,{"since":null}]`), Channel: "g.s.2",
			Socket: SocketInfo{ID: &id, Assigns: json.RawMessage(`{"user_id":"42"}`), Transport: "websocket", Peer: "203.0.113.9"},
		}, `{"topic":"room:\"é\n","params":[1,{"since":null}],"channel":"g.s.2",` +
			`"socket":{"id":"user_socket:42","assigns":{"user_id":"42"},"transport":"websocket","peer":"203.0.113.9"}}`},
		{"reauthorize", JoinRequest{Topic: "a", Channel: "g.s.1", Socket: SocketInfo{Transport: "websocket", Peer: "::1"}, Reauthorize: true},
			`{"topic":"a","params":{},"channel":"g.s.1","socket":{"id":null,"assigns":{},"transport":"websocket","peer":"::1"},"reauthorize":true}`},
		{"recheck", JoinRequest{Topic: "a", Channel: "g.s.1", Socket: SocketInfo{Transport: "websocket", Peer: "::1"}, Recheck: true},
			`{"topic":"a","params":{},"channel":"g.s.1","socket":{"id":null,"assigns":{},"transport":"websocket","peer":"::1"},"recheck":true}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := tc.req.Append(nil)
			wantSameJSON(t, string(body), tc.want)
			var back JoinRequest
			if err := json.Unmarshal(body, &back); err != nil {
				t.Fatal(err)
			}
			if again := back.Append(nil); string(again) != string(body) {
				t.Errorf("decoded and encoded again:\n got %s\nwant %s", again, body)
			}
		})
	}
}

func TestJoinRequestAppendDoesNotAllocate(t *testing.T) {
	id := "user_socket:42"
	req := JoinRequest{Topic: "room:lobby", Params: json.RawMessage(`{"a":1}`), Channel: "g.s.1", Socket: SocketInfo{
		ID: &id, Assigns: json.RawMessage(`{"user_id":"42"}`), Transport: "websocket", Peer: "203.0.113.9"}}
	dst := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { dst = req.Append(dst[:0]) }); n != 0 {
		t.Errorf("%v allocations in a buffer that is large enough", n)
	}
}

func TestParseJoinReply(t *testing.T) {
	empty := json.RawMessage(`{}`)
	exact := `{"b":1.50, "a":12345678901234567890,"s":"\u00e9\/","b":1}`
	for _, tc := range []struct {
		body string
		want JoinReply
	}{
		{`{"status":"ok"}`, JoinReply{OK: true, Response: empty}},
		{`{"st\u0061tus":"\u006fk"}`, JoinReply{OK: true, Response: empty}},
		{`{"status":"ok","response":` + exact + ` }`, JoinReply{OK: true, Response: json.RawMessage(exact)}},
		{`{"status":"ok","response":null}`, JoinReply{OK: true, Response: json.RawMessage(`null`)}},
		{`{"status":"ok","response": [1, 2]}`, JoinReply{OK: true, Response: json.RawMessage(`[1, 2]`)}},
		{`{"status":"ok","assigns":null,"presence":null,"events":null,"expires_at":null}`, JoinReply{OK: true, Response: empty}},
		{`{"status":"ok","assigns":{"role":"admin"},"presence":{"key":"42","meta":{"name":"Ann"}},` +
			`"events":["new_msg","typing"],"expires_at":1767225600}`, JoinReply{
			OK: true, Response: empty, Assigns: json.RawMessage(`{"role":"admin"}`),
			Presence: &Presence{Key: "42", HasKey: true, Meta: json.RawMessage(`{"name":"Ann"}`)},
			Events:   []string{"new_msg", "typing"}, HasEvents: true, ExpiresAt: 1767225600}},
		{`{"status":"ok","presence":{}}`, JoinReply{OK: true, Response: empty, Presence: &Presence{}}},
		{`{"status":"ok","presence":{"key":null,"meta":null}}`, JoinReply{OK: true, Response: empty, Presence: &Presence{}}},
		{`{"status":"ok","presence":{"key":""}}`, JoinReply{OK: true, Response: empty, Presence: &Presence{HasKey: true}}},
		{`{"status":"ok","presence":{"key":-4.5}}`, JoinReply{OK: true, Response: empty, Presence: &Presence{Key: "-4.5", HasKey: true}}},
		{`{"status":"ok","events":[]}`, JoinReply{OK: true, Response: empty, HasEvents: true}},
		{`{"status":"ok","events":[ ]}`, JoinReply{OK: true, Response: empty, HasEvents: true}},
		{`{"status":"ok","events":[ "a,]\"\\" , "\u00e9","" ]}`, JoinReply{OK: true, Response: empty,
			Events: []string{`a,]"\`, "é", ""}, HasEvents: true}},
		{`{"status":"error"}`, JoinReply{Response: empty}},
		{`{"status":"error","response":{"reason":"unauthorized"}}`, JoinReply{Response: json.RawMessage(`{"reason":"unauthorized"}`)}},
		{`{"status":"error","assigns":1,"presence":1,"events":1,"expires_at":[]}`, JoinReply{Response: empty}},
	} {
		got, err := ParseJoinReply([]byte(tc.body))
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", tc.body, got, err, tc.want)
		}
	}
}

func TestParseJoinReplyRefuses(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for _, body := range []string{
		``,
		`"ok"`,
		`{}`,
		`{"Status":"ok"}`,
		`{"status":null}`,
		`{"status":true}`,
		`{"status":"OK"}`,
		`{"status":""}`,
		`{"status":"ok"`,
		`{"status":"error","status":"ok"}`,
		`{"status":"ok","x":"` + "\xc3" + `"}`,
		`{"status":"ok","response":` + deep + `}`,
		`{"status":"ok","response":1,"response":2}`,
		`{"status":"ok","assigns":"x"}`,
		`{"status":"ok","presence":true}`,
		`{"status":"ok","presence":[]}`,
		`{"status":"ok","presence":{"key":true}}`,
		`{"status":"ok","presence":{"key":"\udead"}}`,
		`{"status":"ok","presence":{"key":"a","key":"b"}}`,
		`{"status":"ok","presence":{"meta":[]}}`,
		`{"status":"ok","events":{}}`,
		`{"status":"ok","events":"new_msg"}`,
		`{"status":"ok","events":[1]}`,
		`{"status":"ok","events":["a",null]}`,
		`{"status":"ok","events":["a",["b"]]}`,
		`{"status":"ok","events":["\ud800"]}`,
		`{"status":"ok","expires_at":"soon"}`,
		`{"status":"ok","expires_at":-5}`,
		`{"status":"ok","expires_at":1767225600000}`,
	} {
		got, err := ParseJoinReply([]byte(body))
		if !errors.Is(err, ErrNonsense) || !reflect.DeepEqual(got, JoinReply{}) {
			t.Errorf("%.80s: got %+v, %v", body, got, err)
		}
	}
}

func FuzzParseJoinReply(f *testing.F) {
	f.Add([]byte(`{"status":"ok","response":{"role":"admin"},"assigns":{"role":"admin"},"presence":{"key":"42",` +
		`"meta":{"name":"Ann"}},"events":["new_msg","typing"],"expires_at":1767225600}`))
	f.Add([]byte(`{"status":"error","response":{"reason":"unauthorized"}}`))
	f.Add([]byte(`{"status":"ok","presence":{},"events":[ "a\"," ]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		reply, err := ParseJoinReply(body)
		if err != nil {
			if !reflect.DeepEqual(reply, JoinReply{}) || !errors.Is(err, ErrNonsense) {
				t.Fatalf("%+v beside %v", reply, err)
			}
			return
		}
		var model struct {
			Presence *struct {
				Key  *string
				Meta map[string]any
			}
			Events *[]string
		}
		all := decodeModel(t, body)
		if !json.Valid(reply.Response) || reply.OK != (all["status"] == "ok") || !reply.OK && all["status"] != "error" {
			t.Fatalf("%+v of %s", reply, body)
		}
		if !reply.OK {
			if !reflect.DeepEqual(reply, JoinReply{Response: reply.Response}) {
				t.Fatalf("a refusal grants: %+v", reply)
			}
			return
		}
		wantGranted(t, reply.Assigns, reply.ExpiresAt, all)
		for name := range all { // encoding/json takes Events for events; only exact names count
			switch name {
			case "status", "response", "presence", "events", "assigns", "expires_at":
			default:
				return
			}
		}
		if presence, ok := all["presence"].(map[string]any); ok {
			for name := range presence {
				if name != "key" && name != "meta" {
					return
				}
			}
		}
		if err := json.Unmarshal(body, &model); err != nil {
			t.Fatalf("parsed, but encoding/json says %v", err)
		}
		if reply.HasEvents != (model.Events != nil) ||
			reply.HasEvents && strings.Join(reply.Events, "\x00") != strings.Join(*model.Events, "\x00") {
			t.Fatalf("events %q of %v", reply.Events, model.Events)
		}
		if (reply.Presence != nil) != (model.Presence != nil) {
			t.Fatalf("presence %+v of %+v", reply.Presence, model.Presence)
		}
		if p := reply.Presence; p != nil {
			if p.HasKey != (model.Presence.Key != nil) || p.HasKey && p.Key != *model.Presence.Key ||
				(p.Meta != nil) != (model.Presence.Meta != nil) {
				t.Fatalf("presence %+v of %+v", p, model.Presence)
			}
		}
	})
}
