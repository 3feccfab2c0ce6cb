package contracttest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	phoenixSecret = "phxgate tests: a secret key base of sixty-four bytes, never used"
	phoenixSalt   = "user socket"
	phoenixRules  = `channels:
  - topic: "room:*"
    join: allow
    events:
      - {event: new_msg, do: broadcast, set: {sub: claims.sub, user_id: claims.user_id, data: assigns.claims.data, id: socket.id}}
      - {event: "*", do: call}
`
)

var phoenixSettings = []string{"CONNECT_AUTH=phoenix_token", "PHX_SECRET_KEY_BASE=" + phoenixSecret, "PHX_TOKEN_SALT=" + phoenixSalt}

// elixirToken is one of those that Elixir made.
func elixirToken(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../authz/testdata/phoenix_tokens.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if found, token, _ := strings.Cut(strings.TrimSpace(line), " "); found == name {
			return token
		}
	}
	t.Fatalf("no token %s", name)
	return ""
}

// phoenixToken is what Phoenix.Token.sign makes of the integer 42, now.
func phoenixToken(t *testing.T, signedAt time.Time, maxAgeSeconds uint32) string {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, phoenixSecret, []byte(phoenixSalt), 1000, 32)
	if err != nil {
		t.Fatal(err)
	}
	return signPhoenix(key, "a\x2a", signedAt, maxAgeSeconds)
}

// signPhoenix signs data, in the external term format.
func signPhoenix(key []byte, data string, signedAt time.Time, maxAgeSeconds uint32) string {
	ms := binary.LittleEndian.AppendUint64(nil, uint64(signedAt.UnixMilli()))
	term := append([]byte("\x83h\x03"+data+"n\x06\x00"), ms[:6]...) // {data, signed_at,
	term = binary.BigEndian.AppendUint32(append(term, 'b'), maxAgeSeconds)
	text := "SFMyNTY." + base64.RawURLEncoding.EncodeToString(term)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// A token that Elixir made gives the socket its id and claims, wherever the client puts it.
func TestPhoenixTokenSocket(t *testing.T) {
	t.Parallel()
	g, b := setup(t, phoenixRules, append(phoenixSettings, "LOG_LEVEL=debug")...)
	calls := b.listen("phx.event.>")
	for name, want := range map[string]struct{ broadcast, assigns string }{
		"max_age_infinity":     {`{"sub":"42","user_id":null,"data":42,"id":"user_socket:42"}`, `{"claims":{"sub":"42","data":42}}`},
		"max_age_infinity_map": {`{"sub":"42","user_id":42,"data":null,"id":"user_socket:42"}`, `{"claims":{"sub":"42","role":"admin","user_id":42}}`},
	} {
		token := elixirToken(t, name)
		bearer := "base64url.bearer.phx." + base64.RawStdEncoding.EncodeToString([]byte(token))
		for _, c := range []*phxtest.Client{
			phxtest.Dial(t, g.url("vsn=2.0.0&token="+token)),
			phxtest.Dial(t, g.url("vsn=2.0.0"), phxtest.Protocols("phoenix", bearer)),
		} {
			c.Join("room:1", struct{}{})
			c.Push("room:1", "new_msg", map[string]any{"sub": "me", "user_id": 1, "data": 1, "id": "x"})
			c.Want(`[null,null,"room:1","new_msg",` + want.broadcast + `]`)
			c.Push("room:1", "ask", struct{}{})
			msg := next(t, calls)
			wantHeaders(t, msg, "Phx-Socket-Id", "user_socket:42")
			wantJSON(t, "assigns", []byte(msg.Header.Get("Phx-Assigns")), want.assigns)
			reply(msg, `{}`)
			c.Close(1000)
		}
		if strings.Contains(g.stderr.String(), token) {
			t.Error("the log holds a token")
		}
	}
	// The id is one that a backend can disconnect.
	c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+phoenixToken(t, time.Now(), 600)))
	c.Join("room:1", struct{}{})
	b.publish("phx.socket.user_socket=3A42", "", "Phx-Action", "disconnect")
	c.WantClosed(1001)
	if strings.Contains(g.stderr.String(), phoenixSecret) {
		t.Error("the log holds the secret")
	}
}

// What is neither an integer, a string nor a map with one of them makes an anonymous socket; the key is derived as the options say.
func TestPhoenixTokenData(t *testing.T) {
	t.Parallel()
	key, err := pbkdf2.Key(sha512.New, phoenixSecret, []byte(phoenixSalt), 2000, 64)
	if err != nil {
		t.Fatal(err)
	}
	g, b := setup(t, phoenixRules, append(phoenixSettings, "PHX_TOKEN_KEY_ITERATIONS=2000", "PHX_TOKEN_KEY_LENGTH=64", "PHX_TOKEN_KEY_DIGEST=sha512")...)
	if status := tokenStatus(t, g, phoenixToken(t, time.Now(), 600)); status != 403 {
		t.Errorf("a key of the default options: status %d, want 403", status)
	}
	joined := b.listen("phx.joined.>")
	for data, want := range map[string]struct{ id, assigns string }{
		"a\x2a":                        {"user_socket:42", `{"claims":{"sub":"42","data":42}}`},
		"m\x00\x00\x00\x03ann":         {"user_socket:ann", `{"claims":{"sub":"ann","data":"ann"}}`},
		"h\x02w\x04usera\x2a":          {"", `{"claims":{"data":["user",42]}}`},
		"w\x03nil":                     {"", `{"claims":{"data":null}}`},
		"t\x00\x00\x00\x01w\x01aa\x01": {"", `{"claims":{"a":1}}`},
	} {
		c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+signPhoenix(key, data, time.Now(), 600)))
		c.Join("room:1", struct{}{})
		msg := next(t, joined)
		wantHeaders(t, msg, "Phx-Socket-Id", want.id)
		wantJSON(t, "assigns", []byte(msg.Header.Get("Phx-Assigns")), want.assigns)
	}
}

func TestPhoenixTokenRefused(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, phoenixRules, append(phoenixSettings, "LOG_LEVEL=debug")...)
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, test := range []struct {
		name, token string
		status      int
	}{
		{"good", phoenixToken(t, ago(time.Minute), 86400), 101},
		{"signed later", phoenixToken(t, ago(-time.Hour), 86400), 101},
		{"its own age over", phoenixToken(t, ago(time.Minute), 59), 403},
		{"a day over", elixirToken(t, "integer"), 403},
		{"another salt", elixirToken(t, "another_salt"), 403},
		{"another digest", elixirToken(t, "hs384"), 403},
		{"a JWT", hs256(t, `{"exp":4000000000}`), 403},
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
	// The secret may stand in a file, whose last newline is not part of it.
	g, _ = setup(t, phoenixRules, "CONNECT_AUTH=phoenix_token", "PHX_TOKEN_SALT="+phoenixSalt, "PHX_SECRET_KEY_BASE_FILE="+writeFile(t, "secret", phoenixSecret+"\n"))
	if status := tokenStatus(t, g, phoenixToken(t, time.Now(), 600)); status != 101 {
		t.Errorf("secret of a file: status %d, want 101", status)
	}
	// PHX_TOKEN_MAX_AGE counts, not the token's own, as with verify's option.
	g, _ = setup(t, phoenixRules, append(phoenixSettings, "PHX_TOKEN_MAX_AGE=120")...)
	for token, want := range map[string]int{phoenixToken(t, ago(time.Minute), 1): 101, phoenixToken(t, ago(3*time.Minute), 86400): 403, elixirToken(t, "max_age_infinity"): 403} {
		if status := tokenStatus(t, g, token); status != want {
			t.Errorf("120 s: status %d, want %d", status, want)
		}
	}
}

// The end of its token closes a socket.
func TestPhoenixTokenExpires(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, phoenixRules, phoenixSettings...)
	start := time.Now()
	c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+phoenixToken(t, start.Add(-time.Minute), 62)))
	c.Join("room:1", struct{}{})
	c.WantClosed(1008)
	c.WantEnded()
	if took := time.Since(start); took < 1500*time.Millisecond || took > phxtest.Scaled(4*time.Second) {
		t.Errorf("closed after %v, want 2 s", took)
	}
}

// Beside authz the token is verified first, and the authz service is told its claims. Its answer lets the socket end no later than the token.
func TestPhoenixTokenBesideAuthz(t *testing.T) {
	t.Parallel()
	g, b := setup(t, authzRules, append(phoenixSettings, "CONNECT_AUTH=authz")...)
	requests := b.listen("phx.authz.connect")
	if status := tokenStatus(t, g, elixirToken(t, "another_salt")); status != 403 {
		t.Errorf("bad token: status %d, want 403", status)
	}
	b.answer("phx.authz.connect", `{"allow":true,"id":"user:7","assigns":{"a":1}}`)
	b.answer("phx.authz.join", `{"status":"ok"}`)
	token := elixirToken(t, "max_age_infinity_map")
	c := phxtest.Dial(t, g.url("vsn=2.0.0&token="+token))
	// The first request there is: nobody was asked about the bad one.
	wantJSON(t, "connect request", next(t, requests).Data, `{"transport":"websocket","vsn":"2.0.0","params":{"token":"`+token+`"},"auth_token":"`+token+`",
		"claims":{"sub":"42","role":"admin","user_id":42},"peer":"127.0.0.1","headers":{}}`)
	c.Join("room:1", struct{}{})
	ends := phxtest.Dial(t, g.url("vsn=2.0.0&token="+phoenixToken(t, time.Now(), 2)))
	ends.Join("room:1", struct{}{})
	ends.WantClosed(1008)
	c.Join("room:2", struct{}{}) // one without an end goes on
}

func TestPhoenixTokenSettings(t *testing.T) {
	t.Parallel()
	rules := writeFile(t, "channels.yaml", phoenixRules)
	secret := "PHX_SECRET_KEY_BASE_FILE=" + writeFile(t, "secret", "hunter2hunter2hunter2\n")
	short := "PHX_SECRET_KEY_BASE_FILE=" + writeFile(t, "short", "hunter2hunter2hunte\r\n")
	const key, salt, phoenix = "PHX_SECRET_KEY_BASE=hunter2hunter2hunter2", "PHX_TOKEN_SALT=user socket", "CONNECT_AUTH=phoenix_token"
	for _, test := range []struct {
		name     string
		settings []string
		named    []string // variables in the message; nil: no mistake
	}{
		{"both", []string{phoenix, key, salt}, nil},
		{"a file", []string{phoenix, secret, salt}, nil},
		{"a file beside authz", []string{"CONNECT_AUTH=authz", secret, salt}, nil},
		{"both secrets", []string{phoenix, secret, key, salt}, []string{"PHX_SECRET_KEY_BASE_FILE"}},
		{"no file", []string{phoenix, "PHX_SECRET_KEY_BASE_FILE=/nowhere", salt}, []string{"PHX_SECRET_KEY_BASE_FILE", "/nowhere"}},
		{"19 bytes and a newline", []string{phoenix, short, salt}, []string{"PHX_SECRET_KEY_BASE_FILE"}},
		{"a file without salt", []string{phoenix, secret}, []string{"PHX_TOKEN_SALT"}},
		{"a file with allow", []string{"CONNECT_AUTH=allow", secret, salt}, []string{"PHX_SECRET_KEY_BASE_FILE", "CONNECT_AUTH"}},
		{"beside authz", []string{"CONNECT_AUTH=authz", key, salt, "PHX_TOKEN_MAX_AGE=24h"}, nil},
		{"every option", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=infinity", "PHX_TOKEN_KEY_ITERATIONS=2000", "PHX_TOKEN_KEY_LENGTH=64", "PHX_TOKEN_KEY_DIGEST=sha512"}, nil},
		{"seconds", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=1209600"}, nil},
		{"neither", []string{phoenix}, []string{"CONNECT_AUTH", "PHX_SECRET_KEY_BASE", "PHX_TOKEN_SALT"}},
		{"no salt", []string{phoenix, key}, []string{"PHX_TOKEN_SALT"}},
		{"no secret", []string{phoenix, salt}, []string{"PHX_SECRET_KEY_BASE"}},
		{"no salt beside authz", []string{"CONNECT_AUTH=authz", key}, []string{"PHX_TOKEN_SALT"}},
		{"an age alone", []string{"CONNECT_AUTH=authz", "PHX_TOKEN_MAX_AGE=24h"}, []string{"PHX_SECRET_KEY_BASE", "PHX_TOKEN_MAX_AGE"}},
		{"19 bytes", []string{phoenix, "PHX_SECRET_KEY_BASE=hunter2hunter2hunte", salt}, []string{"PHX_SECRET_KEY_BASE"}},
		{"20 bytes", []string{phoenix, "PHX_SECRET_KEY_BASE=hunter2hunter2hunter", salt}, nil},
		{"a JWT key", []string{phoenix, key, salt, "JWT_SECRET=hunter2"}, []string{"JWT_SECRET", "CONNECT_AUTH"}},
		{"with jwt", []string{"CONNECT_AUTH=jwt", "JWT_SECRET=hunter2", key, salt}, []string{"PHX_SECRET_KEY_BASE", "PHX_TOKEN_SALT", "CONNECT_AUTH"}},
		{"both beside authz", []string{"CONNECT_AUTH=authz", "JWT_SECRET=hunter2", key, salt}, []string{"PHX_SECRET_KEY_BASE", "JWT_SECRET"}},
		{"with allow", []string{"CONNECT_AUTH=allow", key, salt}, []string{"PHX_SECRET_KEY_BASE", "PHX_TOKEN_SALT", "CONNECT_AUTH"}},
		{"age of zero", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=0"}, []string{"PHX_TOKEN_MAX_AGE"}},
		{"negative age", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=-1s"}, []string{"PHX_TOKEN_MAX_AGE"}},
		{"age of less than a millisecond", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=1us"}, []string{"PHX_TOKEN_MAX_AGE"}},
		{"age too long", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=99999999999999"}, []string{"PHX_TOKEN_MAX_AGE"}},
		{"no age", []string{phoenix, key, salt, "PHX_TOKEN_MAX_AGE=never"}, []string{"PHX_TOKEN_MAX_AGE"}},
		{"digest", []string{phoenix, key, salt, "PHX_TOKEN_KEY_DIGEST=md5"}, []string{"PHX_TOKEN_KEY_DIGEST"}},
		{"length", []string{phoenix, key, salt, "PHX_TOKEN_KEY_LENGTH=8"}, []string{"PHX_TOKEN_KEY_LENGTH"}},
		{"iterations", []string{phoenix, key, salt, "PHX_TOKEN_KEY_ITERATIONS=10000001"}, []string{"PHX_TOKEN_KEY_ITERATIONS"}},
		{"no iterations", []string{phoenix, key, salt, "PHX_TOKEN_KEY_ITERATIONS=0"}, []string{"PHX_TOKEN_KEY_ITERATIONS"}},
	} {
		env := append([]string{"CHANNELS_FILE=" + rules}, test.settings...)
		status, stdout, stderr := runGateway(t, []string{"check-config"}, env...)
		if (status == 0) != (test.named == nil) || strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%s: status %d, %q %q", test.name, status, stdout, stderr)
		}
		for _, name := range test.named {
			if !strings.Contains(stdout+stderr, name) {
				t.Errorf("%s: %s is not named: %q %q", test.name, name, stdout, stderr)
			}
		}
	}
	_, help, _ := runGateway(t, []string{"--help"})
	for _, name := range []string{"PHX_SECRET_KEY_BASE", "PHX_SECRET_KEY_BASE_FILE", "PHX_TOKEN_SALT", "PHX_TOKEN_MAX_AGE", "PHX_TOKEN_KEY_ITERATIONS", "PHX_TOKEN_KEY_LENGTH", "PHX_TOKEN_KEY_DIGEST"} {
		if !strings.Contains(help, "  "+name+" ") {
			t.Errorf("%s is not listed", name)
		}
	}
}
