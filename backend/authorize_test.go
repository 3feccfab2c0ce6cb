package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/backend/backendtest"
)

func TestAuthorizeConnect(t *testing.T) {
	expires := time.Unix(1767225600, 0)
	h := backendtest.New(t)
	h.AuthorizeConnect(func(_ context.Context, r *backend.ConnectRequest) (backend.ConnectReply, error) {
		var params struct{ Name string }
		if err := r.Decode(&params); err != nil {
			return backend.ConnectReply{}, err
		}
		switch r.AuthToken {
		case "":
			return backend.ConnectReply{}, nil
		case "bad":
			return backend.ConnectReply{}, backend.Refuse{Reason: "unknown token"}
		case "disk":
			return backend.ConnectReply{}, errors.New("disk")
		case "panic":
			panic("boom")
		case "list":
			return backend.ConnectReply{Assigns: []int{1}}, nil
		}
		return backend.ConnectReply{ID: "user_socket:" + params.Name, Assigns: map[string]string{"name": params.Name}, ExpiresAt: expires}, nil
	})
	for token, want := range map[string]backendtest.ConnectAnswer{
		"":      {Allow: true},
		"good":  {Allow: true, ID: "user_socket:é", Assigns: json.RawMessage(`{"name":"\u00e9"}`), ExpiresAt: expires.Unix()},
		"bad":   {Reason: "unknown token"},
		"disk":  {Error: "internal"},
		"panic": {Error: "internal"},
		"list":  {Error: "internal"},
	} {
		if got := h.Connect(backend.ConnectRequest{AuthToken: token, Params: json.RawMessage(`{"name":"é"}`)}); !reflect.DeepEqual(got, want) {
			t.Errorf("token %q: %+v, want %+v", token, got, want)
		}
	}
	if got := h.Connect(backend.ConnectRequest{Params: json.RawMessage(`{"name":1}`)}); got.Allow || got.Reason != "invalid params" {
		t.Errorf("params of another type: %+v", got)
	}
}

func TestAuthorizeJoin(t *testing.T) {
	h := backendtest.New(t)
	h.Topic("room:*").AuthorizeJoin(func(_ context.Context, r *backend.JoinRequest) (backend.JoinReply, error) {
		var who struct{ Role string }
		if err := r.DecodeAssigns(&who); err != nil {
			return backend.JoinReply{}, err
		}
		switch who.Role {
		case "":
			return backend.JoinReply{}, nil
		case "banned":
			return backend.JoinReply{}, backend.Refuse{Reason: "unauthorized"}
		case "full":
			return backend.JoinReply{}, backend.Refuse{Response: map[string]int{"retry": 5}}
		case "bytes":
			return backend.JoinReply{Response: backend.Binary("x")}, nil
		}
		return backend.JoinReply{
			Response: map[string]string{"role": who.Role}, Assigns: map[string]bool{"ok": true}, Events: []string{}, ExpiresAt: time.Unix(9, 0),
			Presence: &backend.Presence{Key: "42", Meta: map[string]string{"name": "Ann"}},
		}, nil
	})
	h.Topic("user:*").AuthorizeJoin(func(context.Context, *backend.JoinRequest) (backend.JoinReply, error) {
		return backend.JoinReply{Presence: &backend.Presence{}}, nil
	})
	ask := func(topic, role string) string {
		request := backend.JoinRequest{Topic: topic}
		request.Socket.Assigns = json.RawMessage(`{"role":"` + role + `"}`)
		answer := h.Join(request)
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range []struct{ topic, role, want string }{
		{"room:1", "", `{"status":"ok","response":{},"assigns":null,"presence":null,"events":null,"expires_at":0,"error":""}`},
		{"room:1", "admin", `{"status":"ok","response":{"role":"admin"},"assigns":{"ok":true},"presence":{"key":"42","meta":{"name":"Ann"}},"events":[],"expires_at":9,"error":""}`},
		{"room:1", "banned", `{"status":"error","response":{"reason":"unauthorized"},"assigns":null,"presence":null,"events":null,"expires_at":0,"error":""}`},
		{"room:1", "full", `{"status":"error","response":{"retry":5},"assigns":null,"presence":null,"events":null,"expires_at":0,"error":""}`},
		{"room:1", "bytes", `{"status":"","response":null,"assigns":null,"presence":null,"events":null,"expires_at":0,"error":"internal"}`},
		{"user:1", "", `{"status":"ok","response":{},"assigns":null,"presence":{"key":"","meta":null},"events":null,"expires_at":0,"error":""}`},
	} {
		if got := ask(c.topic, c.role); got != c.want {
			t.Errorf("%s as %q:\n%s, want\n%s", c.topic, c.role, got, c.want)
		}
	}
}
