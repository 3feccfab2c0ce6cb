package contracttest

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	jwtSecret = "a secret of at least thirty-two bytes"
	jwtRules  = `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: new_msg, do: broadcast, set: {sub: claims.sub, role: assigns.claims.role, id: socket.id}}
      - {event: "*", do: call}
`
)

// hs256 is a token that the secret signed.
func hs256(t *testing.T, claims string) string {
	t.Helper()
	return signJWT(t, jwtSecret, `{"alg":"HS256","typ":"JWT"}`, claims)
}

// tokenStatus is the answer to a connect with a token in the params.
func tokenStatus(t *testing.T, g *gateway, token string) int {
	t.Helper()
	status, body, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0&token="+url.QueryEscape(token))
	if status == 403 && body != "" {
		t.Errorf("403 with body %q, want none", body)
	}
	return status
}

// A good token gives the socket its id and claims, wherever the client puts the token.
func TestJWTSocket(t *testing.T) {
	t.Parallel()
	g, b := setup(t, jwtRules, "CONNECT_AUTH=jwt", "JWT_SECRET="+jwtSecret)
	calls := b.listen("phx.event.>")
	claims := fmt.Sprintf(`{"sub":"é 1","role":{"n":1.0},"exp":%d}`, time.Now().Unix()+600)
	token := hs256(t, claims)
	bearer := "base64url.bearer.phx." + base64.RawStdEncoding.EncodeToString([]byte(token))
	for _, c := range []*phxtest.Client{
		phxtest.Dial(t, g.url("vsn=2.0.0&token="+token)),
		phxtest.Dial(t, g.url("vsn=2.0.0"), phxtest.Protocols("phoenix", bearer)),
	} {
		c.Join("room:1", struct{}{})
		c.Push("room:1", "new_msg", map[string]any{"sub": "me", "role": "root", "id": "x"})
		c.Want(`[null,null,"room:1","new_msg",{"sub":"é 1","role":{"n":1.0},"id":"user_socket:é 1"}]`)
		c.Push("room:1", "ask", struct{}{})
		msg := next(t, calls)
		wantHeaders(t, msg, "Phx-Socket-Id", "user_socket:=C3=A9=201")
		wantJSON(t, "assigns", []byte(msg.Header.Get("Phx-Assigns")), `{"claims":`+claims+`}`)
		if assigns := msg.Header.Get("Phx-Assigns"); strings.Contains(assigns, "é") || !strings.Contains(assigns, "1.0") {
			t.Errorf("assigns %q, want ASCII and the numbers as they came", assigns)
		}
		reply(msg, `{}`)
		c.Close(1000)
	}
	// The id is one that a backend can disconnect.
	c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+token))
	c.Join("room:1", struct{}{})
	b.publish("phx.socket.user_socket=3A=C3=A9=201", "", "Phx-Action", "disconnect")
	c.WantClosed(1001)
	// No sub: anonymous.
	c = phxtest.Dial(t, g.url("vsn=2.0.0&token="+hs256(t, `{"exp":4000000000}`)))
	c.Join("room:1", struct{}{})
	c.Push("room:1", "ask", struct{}{})
	wantHeaders(t, next(t, calls), "Phx-Socket-Id", "")
	if strings.Contains(g.stderr.String(), token) || strings.Contains(g.stderr.String(), jwtSecret) {
		t.Error("the log holds a token or the secret")
	}
}

func TestJWTRefused(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, jwtRules, "CONNECT_AUTH=jwt", "JWT_SECRET="+jwtSecret, "JWT_ISSUER=me", "JWT_AUDIENCE=chat", "LOG_LEVEL=debug")
	at := func(seconds int64) int64 { return time.Now().Unix() + seconds }
	ok := fmt.Sprintf(`"iss":"me","aud":["x","chat"],"exp":%d`, at(600))
	long := func(n int) string { return strings.Repeat("s", n) }
	for _, test := range []struct {
		name, token string
		status      int
	}{
		{"good", hs256(t, `{`+ok+`,"sub":"1"}`), 101},
		{"long id", hs256(t, `{`+ok+`,"sub":"`+long(255-len("user_socket:"))+`"}`), 101},
		{"longer id", hs256(t, `{`+ok+`,"sub":"`+long(256-len("user_socket:"))+`"}`), 403},
		{"sub is no string", hs256(t, `{`+ok+`,"sub":1}`), 403},
		{"large claims", hs256(t, `{`+ok+`,"a":"`+long(12<<10)+`"}`), 101},
		{"larger claims", hs256(t, `{`+ok+`,"a":"`+long(16<<10)+`"}`), 403},
		{"within the leeway", hs256(t, fmt.Sprintf(`{"iss":"me","aud":"chat","exp":%d}`, at(-10))), 101},
		{"expired", hs256(t, fmt.Sprintf(`{"iss":"me","aud":"chat","exp":%d}`, at(-40))), 403},
		{"no exp", hs256(t, `{"iss":"me","aud":"chat"}`), 403},
		{"exp as string", hs256(t, fmt.Sprintf(`{"iss":"me","aud":"chat","exp":"%d"}`, at(600))), 403},
		{"not yet", hs256(t, fmt.Sprintf(`{%s,"nbf":%d}`, ok, at(120))), 403},
		{"another issuer", hs256(t, strings.Replace(`{`+ok+`}`, `"me"`, `"you"`, 1)), 403},
		{"another audience", hs256(t, strings.Replace(`{`+ok+`}`, `"chat"`, `"mail"`, 1)), 403},
		{"another secret", signJWT(t, "x"+jwtSecret, `{"alg":"HS256"}`, `{`+ok+`}`), 403},
		{"another algorithm", signJWT(t, jwtSecret, `{"alg":"HS512"}`, `{`+ok+`}`), 403},
		{"none", signJWT(t, "", `{"alg":"none"}`, `{`+ok+`}`), 403},
		{"garbage", "garbage", 403},
		{"empty", "", 403},
	} {
		if status := tokenStatus(t, g, test.token); status != test.status {
			t.Errorf("%s: status %d, want %d", test.name, status, test.status)
		}
		if test.token != "" && strings.Contains(g.stderr.String(), test.token) {
			t.Errorf("%s: the log holds the token", test.name)
		}
	}
	if status, _, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0"); status != 403 {
		t.Errorf("no token: status %d, want 403", status)
	}
}

// exp closes the socket; for a token that is let in after it, the end of the leeway does.
func TestJWTExpires(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, jwtRules, "CONNECT_AUTH=jwt", "JWT_SECRET="+jwtSecret)
	for _, exp := range []int64{2, -28} {
		start := time.Now()
		c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+hs256(t, fmt.Sprintf(`{"exp":%d}`, start.Unix()+exp))))
		c.Join("room:1", struct{}{})
		c.WantClosed(1008)
		c.WantEnded()
		if took := time.Since(start); took < 500*time.Millisecond || took > phxtest.Scaled(4*time.Second) {
			t.Errorf("exp in %d s: closed after %v, want 1 to 2 s", exp, took)
		}
	}
}

// Beside authz the token is verified first, and the authz service is told its claims.
func TestJWTBesideAuthz(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, "CONNECT_AUTH=authz", "JWT_SECRET="+jwtSecret)
	requests := b.listen("phx.authz.connect")
	for _, token := range []string{"garbage", hs256(t, `{"exp":1}`), hs256(t, `{"sub":"1"}`)} {
		if status := tokenStatus(t, g, token); status != 403 {
			t.Errorf("bad token: status %d, want 403", status)
		}
	}
	if status, _, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0"); status != 403 {
		t.Errorf("no token: status %d, want 403", status)
	}
	b.answer("phx.authz.connect", `{"allow":true,"id":"user:7","assigns":{"a":1}}`)
	b.answer("phx.authz.join", `{"status":"ok"}`)
	joins, calls := b.listen("phx.authz.join"), b.listen("phx.event.>")
	exp := time.Now().Unix() + 3
	claims := fmt.Sprintf(`{"sub":"é","big":12345678901234567890,"exp":%d}`, exp)
	token := hs256(t, claims)
	c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+token))
	// The first request there is: nobody was asked about the bad ones.
	msg := next(t, requests)
	wantJSON(t, "connect request", msg.Data, `{"transport":"websocket","vsn":"2.0.0","params":{"token":"`+token+`"},"auth_token":"`+token+`",
		"claims":`+claims+`,"peer":"127.0.0.1","headers":{}}`)
	if !strings.Contains(string(msg.Data), "12345678901234567890") {
		t.Errorf("claims were changed: %s", msg.Data)
	}
	// The answer names the socket; the token ends it.
	c.Join("room:1", struct{}{})
	if text := string(next(t, joins).Data); !strings.Contains(text, `"socket":{"id":"user:7","assigns":{"a":1}`) {
		t.Errorf("join request %s", text)
	}
	c.Push("room:1", "ask", struct{}{})
	wantHeaders(t, next(t, calls), "Phx-Socket-Id", "user:7", "Phx-Assigns", `{"a":1}`)
	c.WantClosed(1008)
	if early := time.Until(time.Unix(exp, 0)); early > 500*time.Millisecond {
		t.Errorf("closed %v before exp", early)
	}
}
