package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/backendtest"
)

// newChat is the chat without a server.
func newChat(t *testing.T) *backendtest.Harness {
	t.Helper()
	s, err := openStore(context.Background(), filepath.Join(t.TempDir(), "chat.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := backendtest.New(t)
	(&chat{Backend: h.Backend, store: s, moderatorToken: "secret"}).register()
	return h
}

// wantTaken wants that nothing was published but messages that begin so.
func wantTaken(t *testing.T, h *backendtest.Harness, want ...string) {
	t.Helper()
	got := h.Take()
	if len(got) != len(want) {
		t.Fatalf("published %q, want %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i].String(), want[i]) {
			t.Errorf("published %q, want %q", got[i], want[i])
		}
	}
}

func wantReply(t *testing.T, got backendtest.Reply, want string) {
	t.Helper()
	if got.String() != want {
		t.Errorf("reply %q, want %q", got, want)
	}
}

func TestConnect(t *testing.T) {
	h := newChat(t)
	for params, want := range map[string]string{
		`{"name":" Ann "}`:                    `{"name":"Ann","role":"member"}`,
		`{"name":"Ann","moderator":"secret"}`: `{"name":"Ann","role":"moderator"}`,
		`{"name":"Ann","moderator":"guess"}`:  `{"name":"Ann","role":"member"}`,
		`{}`:                                  "",
		`{"name":[]}`:                         "",
		`{"name":"` + strings.Repeat("a", 41) + `"}`: "",
	} {
		answer := h.Connect(backend.ConnectRequest{Params: json.RawMessage(params)})
		if string(answer.Assigns) != want || answer.Allow != (want != "") || answer.Allow && answer.ID != "user_socket:Ann" {
			t.Errorf("%s: %+v, want %s", params, answer, want)
		}
	}
}

func TestMessages(t *testing.T) {
	h := newChat(t)
	ann := h.Channel("room:a", "user_socket:Ann", user{"Ann", member})
	bob := h.Channel("room:a", "user_socket:Bob", user{"Bob", member})
	wantReply(t, ann.Call("new_msg", map[string]string{"body": "hi"}), `ok {"id":1}`)
	wantTaken(t, h, `broadcast room:a new_msg {"id":1,"user":"Ann","name":"Ann","body":"hi"`)
	for _, payload := range []any{map[string]string{}, map[string]string{"body": strings.Repeat("a", maxBody+1)}, map[string]int{"body": 1}, backend.Binary("hi")} {
		if got := ann.Call("new_msg", payload); got.Status != "error" {
			t.Errorf("%.40v: %s", payload, got)
		}
	}
	wantTaken(t, h)
	bob.Joined(nil)
	wantTaken(t, h, `push `+bob.ID+` history {"messages":[{"id":1,"user":"Ann"`)
	h.Channel("room:b", "", user{"Eve", member}).Joined(nil)
	wantTaken(t, h, `push gateway.socket.`)
	ann.Cast("typing", nil)
	wantTaken(t, h, `broadcast room:a typing {"name":"Ann"} from `+ann.ID)

	wantReply(t, bob.Call("delete_msg", map[string]int{"id": 1}), `error {"reason":"unauthorized"}`)
	wantReply(t, ann.Call("delete_msg", map[string]int{"id": 2}), `error {"reason":"not found"}`)
	wantTaken(t, h)
	wantReply(t, ann.Call("delete_msg", map[string]int{"id": 1}), `ok {}`)
	wantTaken(t, h, `broadcast room:a msg_deleted {"id":1}`)
	bob.Joined(nil)
	wantTaken(t, h, `push `+bob.ID+` history {"messages":[]}`)
}

func TestModeration(t *testing.T) {
	h := newChat(t)
	ann := h.Channel("room:a", "user_socket:Ann", user{"Ann", member})
	mod := h.Channel("room:a", "user_socket:Mo", user{"Mo", moderator})
	join := func() string {
		request := backend.JoinRequest{Topic: "room:a", Channel: "g1.s.1"}
		request.Socket.Assigns = json.RawMessage(`{"name":"Ann","role":"member"}`)
		answer := h.Join(request)
		if answer.Status == "ok" && (answer.Presence == nil || answer.Presence.Key != "Ann") {
			t.Errorf("presence %+v", answer.Presence)
		}
		return answer.Status + string(answer.Response)
	}
	if got := join(); got != `ok{"gateway":"g1","name":"Ann","role":"member"}` {
		t.Errorf("join: %s", got)
	}
	ann.Call("new_msg", map[string]string{"body": "spam"})
	h.Take()
	wantReply(t, mod.Call("delete_msg", map[string]int{"id": 1}), "ok {}")
	wantTaken(t, h, "broadcast room:a msg_deleted")
	wantReply(t, ann.Call("kick", map[string]string{"name": "Mo"}), `error {"reason":"unauthorized"}`)
	wantReply(t, mod.Call("kick", map[string]string{}), `error {"reason":"invalid name"}`)
	wantTaken(t, h)
	wantReply(t, mod.Call("kick", map[string]string{"name": "Ann"}), "ok {}")
	wantTaken(t, h, `broadcast room:a kicked {"name":"Ann"}`, "leave user_socket:Ann room:a")
	if got := join(); got != `error{"reason":"banned"}` {
		t.Errorf("join after the kick: %s", got)
	}
}

func TestMute(t *testing.T) {
	h := newChat(t)
	ann := h.Channel("room:a", "user_socket:Ann", user{"Ann", member})
	mod := h.Channel("room:a", "user_socket:Mo", user{"Mo", moderator})
	say := func(want string) {
		t.Helper()
		wantReply(t, ann.Call("new_msg", map[string]string{"body": "hi"}), want)
	}
	mute := func(by *backendtest.Channel, name string, seconds int, want string) {
		t.Helper()
		wantReply(t, by.Call("mute", map[string]any{"name": name, "seconds": seconds}), want)
	}
	mute(ann, "Mo", 60, `error {"reason":"unauthorized"}`)
	mute(mod, "", 60, `error {"reason":"invalid name"}`)
	mute(mod, "Ann", -1, `error {"reason":"invalid seconds"}`)
	mute(mod, "Ann", 604_801, `error {"reason":"invalid seconds"}`)
	wantTaken(t, h)
	mute(mod, "Ann", 604_800, "ok {}")
	say(`error {"reason":"muted"}`)
	wantTaken(t, h, `broadcast room:a muted {"name":"Ann","seconds":604800}`)
	elsewhere := h.Channel("room:b", "user_socket:Ann", user{"Ann", member})
	wantReply(t, elsewhere.Call("new_msg", map[string]string{"body": "hi"}), `ok {"id":1}`)
	mute(mod, "Ann", 0, "ok {}")
	say(`ok {"id":2}`)
}

func TestWho(t *testing.T) {
	h := newChat(t)
	ann := h.Channel("room:a", "", user{"Ann", member})
	if err := h.Track(context.Background(), "room:a", ann.ID, "Ann", nil); err != nil {
		t.Fatal(err)
	}
	wantReply(t, ann.Call("who", nil), `ok {"present":{"Ann":{"metas":[{"phx_ref":"ref1"}]}}}`)
}
