package contracttest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const authzRules = `channels: [{topic: "*", events: [{event: "*", do: call}]}]`

func TestConnectRequest(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b := connectBackend(t, url)
	requests := b.listen("phx.authz.connect")
	plain := startGateway(t, url, authzRules, "CONNECT_AUTH=authz")
	set := startGateway(t, url, authzRules, "CONNECT_AUTH=authz", "AUTHZ_HEADERS=cookie,X-Mine",
		"TRUSTED_PROXIES=10.0.0.0/8,127.0.0.0/8", "CHECK_ORIGIN=false")
	token := "secret+/?>>é"
	bearer := "base64url.bearer.phx." + base64.RawStdEncoding.EncodeToString([]byte(token))
	for _, test := range []struct {
		name    string
		g       *gateway
		query   string
		options []phxtest.Option
		want    string
	}{
		{"nothing", plain, "", nil,
			`{"transport":"websocket","vsn":"1.0.0","params":{},"auth_token":null,"claims":null,"peer":"127.0.0.1","headers":{}}`},
		{"params", plain, "a=1&b=%C3%A9+x&c=&user[name]=Ann&user[tags][]=x&user[tags][]=y&vsn=2.0.0", nil,
			`{"transport":"websocket","vsn":"2.0.0","params":{"a":"1","b":"é x","c":"","user":{"name":"Ann","tags":["x","y"]}},
			"auth_token":null,"claims":null,"peer":"127.0.0.1","headers":{}}`},
		{"the last of two", plain, "a=1&a=2&vsn=1.0.0&vsn=2.0.7", nil,
			`{"transport":"websocket","vsn":"2.0.7","params":{"a":"2"},"auth_token":null,"claims":null,"peer":"127.0.0.1","headers":{}}`},
		{"token param", plain, "token=t1&vsn=2.0.0", nil,
			`{"transport":"websocket","vsn":"2.0.0","params":{"token":"t1"},"auth_token":"t1","claims":null,"peer":"127.0.0.1","headers":{}}`},
		{"token of the subprotocol", plain, "vsn=2.0.0", []phxtest.Option{phxtest.Protocols("phoenix", bearer)},
			`{"transport":"websocket","vsn":"2.0.0","params":{},"auth_token":"` + token + `","claims":null,"peer":"127.0.0.1","headers":{}}`},
		{"default headers", plain, "vsn=2.0.0", []phxtest.Option{
			phxtest.Header("User-Agent", "ua/1"), phxtest.Header("Origin", "http://127.0.0.1:9"), phxtest.Header("Cookie", "a=b"),
			phxtest.Header("X-Forwarded-For", "203.0.113.9")},
			`{"transport":"websocket","vsn":"2.0.0","params":{},"auth_token":null,"claims":null,"peer":"127.0.0.1",
			"headers":{"user-agent":"ua/1","origin":"http://127.0.0.1:9"}}`},
		{"chosen headers", set, "vsn=2.0.0", []phxtest.Option{
			phxtest.Header("User-Agent", "ua/1"), phxtest.Header("Cookie", "a=b"), phxtest.Header("x-mine", "1")},
			`{"transport":"websocket","vsn":"2.0.0","params":{},"auth_token":null,"claims":null,"peer":"127.0.0.1",
			"headers":{"cookie":"a=b","x-mine":"1"}}`},
		{"a proxy's word", set, "vsn=2.0.0", []phxtest.Option{phxtest.Header("X-Forwarded-For", "203.0.113.9")},
			`{"transport":"websocket","vsn":"2.0.0","params":{},"auth_token":null,"claims":null,"peer":"203.0.113.9","headers":{}}`},
		{"a chain of proxies", set, "vsn=2.0.0", []phxtest.Option{phxtest.Header("X-Forwarded-For", "1.2.3.4, 203.0.113.9, 10.1.2.3")},
			`{"transport":"websocket","vsn":"2.0.0","params":{},"auth_token":null,"claims":null,"peer":"203.0.113.9","headers":{}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := make(chan *natsMsg, 1)
			go func() {
				msg, err := requests.NextMsg(phxtest.Patience())
				if err == nil {
					reply(msg, `{"allow":true}`)
				}
				got <- msg
			}()
			phxtest.Dial(t, test.g.url(test.query), test.options...)
			msg := <-got
			var r struct{ Headers map[string]string }
			if err := json.Unmarshal(msg.Data, &r); err != nil {
				t.Fatalf("%s: %v", msg.Data, err)
			}
			wantJSON(t, "connect request", msg.Data, test.want)
		})
	}
}

func TestConnectReplies(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "CONNECT_AUTH=authz", "AUTHZ_TIMEOUT=300ms")
	if status, body, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0"); status != 503 || strings.HasPrefix(body, "{") {
		t.Errorf("no responder: %d %q, want 503", status, body)
	}
	answers := make(chan string, 1)
	b.serve("phx.authz.connect", func(msg *natsMsg) {
		if answer := <-answers; answer != "silence" {
			reply(msg, answer)
		}
	})
	id := func(n int) string { return strings.Repeat("i", n) }
	for _, test := range []struct {
		answer string
		status int
	}{
		{`{"allow":true}`, 101},
		{`{"allow":true,"id":"user:1","assigns":{"a":1},"expires_at":32503680000,"more":1}`, 101},
		{`{"allow":true,"id":"` + id(255) + `"}`, 101},
		{`{"allow":true,"id":"` + id(256) + `"}`, 403},
		{`{"allow":true,"id":""}`, 403},
		{`{"allow":false,"reason":"secret"}`, 403},
		{`{"allow":false}`, 403},
		{`{"allow":false,"id":7}`, 403},
		{`silence`, 503},
		{``, 503},
		{`{}`, 503},
		{`no`, 503},
		{`[true]`, 503},
		{`null`, 503},
		{`true`, 503},
		{`{"allow":"true"}`, 503},
		{`{"allow":1}`, 503},
		{`{"allow":null}`, 503},
		{"{\"allow\":true,\"id\":\"\xff\"}", 503},
		{`{"allow":true,"assigns":[1]}`, 503},
		{`{"allow":true,"expires_at":"tomorrow"}`, 503},
	} {
		answers <- test.answer
		status, body, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0")
		if status != test.status {
			t.Errorf("%.60s: status %d, want %d", test.answer, status, test.status)
		}
		if status == 403 && body != "" {
			t.Errorf("%.60s: body %q, want none", test.answer, body)
		}
		if strings.Contains(body, "secret") || strings.HasPrefix(strings.TrimSpace(body), "{") {
			t.Errorf("%.60s: body %q", test.answer, body)
		}
	}
}

func TestSocketExpires(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "CONNECT_AUTH=authz")
	b.serve("phx.authz.connect", func(msg *natsMsg) {
		reply(msg, fmt.Sprintf(`{"allow":true,"expires_at":%d}`, time.Now().Unix()+2))
	})
	c := g.dial(t)
	start := time.Now()
	c.Join("room:1", struct{}{})
	c.WantClosed(1008)
	c.WantEnded()
	if took := time.Since(start); took < 500*time.Millisecond || took > phxtest.Scaled(4*time.Second) {
		t.Errorf("closed after %v, want 1 to 2 s", took)
	}
}
