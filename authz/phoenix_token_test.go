package authz

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// The key and time of testdata/phoenix_tokens.exs.
const (
	keyBase = "phxgate tests: a secret key base of sixty-four bytes, never used"
	signed  = 1_700_000_000
)

// elixirTokens are the tokens that Elixir made, by name.
var elixirTokens = sync.OnceValue(func() map[string]string {
	text, err := os.ReadFile("testdata/phoenix_tokens.txt")
	if err != nil {
		panic(err)
	}
	tokens := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, token, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		tokens[name] = token
	}
	return tokens
})

func phoenixKey() PhoenixKey {
	return PhoenixKey{KeyBase: keyBase, Salt: "user socket", Iterations: 1000, Length: 32, Digest: "sha256"}
}

func mustPhoenix(t testing.TB, k PhoenixKey, age MaxAge) *PhoenixVerifier {
	t.Helper()
	v, err := NewPhoenixVerifier(k, age)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What terms look like as claims, and whose they are.
func TestPhoenixTokenData(t *testing.T) {
	v := mustPhoenix(t, phoenixKey(), MaxAge{})
	ends := time.Unix(signed+86400, 0)
	for _, test := range []struct{ name, subject, claims string }{
		{"integer", "42", `{"sub":"42","data":42}`},
		{"zero", "0", `{"sub":"0","data":0}`},
		{"byte", "255", `{"sub":"255","data":255}`},
		{"large", "256", `{"sub":"256","data":256}`},
		{"negative", "-7", `{"sub":"-7","data":-7}`},
		{"int32", "2147483647", `{"sub":"2147483647","data":2147483647}`},
		{"small_big", "18446744073709551616", `{"sub":"18446744073709551616","data":18446744073709551616}`},
		{"negative_big", "-9223372036854775809", `{"sub":"-9223372036854775809","data":-9223372036854775809}`},
		{"string", "é 1", `{"sub":"é 1","data":"é 1"}`},
		{"empty", "", `{"sub":"","data":""}`},
		{"uuid", "0b0c7a4e-6c0e-4c9e-9a53-5a1c5d1f2b3c", `{"sub":"0b0c7a4e-6c0e-4c9e-9a53-5a1c5d1f2b3c","data":"0b0c7a4e-6c0e-4c9e-9a53-5a1c5d1f2b3c"}`},
		{"quotes", "\"\\\n\u2028\x00", `{"sub":"\"\\\n` + "\u2028" + `\u0000","data":"\"\\\n` + "\u2028" + `\u0000"}`},
		{"nobody", "-", `{"data":null}`},
		{"true", "-", `{"data":true}`},
		{"atom", "-", `{"data":"admin"}`},
		{"minor_version_2", "-", `{"data":"admin"}`},
		{"utf8_atom", "-", `{"data":"é日"}`},
		{"latin1_atom", "-", `{"data":"é"}`},
		{"float", "-", `{"data":1.5}`},
		{"float_whole", "-", `{"data":-2e+30}`},
		{"map_user_id", "42", `{"sub":"42","role":"admin","tags":["a","b"],"user_id":42}`},
		{"map_id", "x y", `{"sub":"x y","id":"x y","n":{"1":2.5,"nil":null}}`},
		{"map_sub", "s", `{"sub":"s","id":2,"user_id":1}`},
		{"map_user_id_map", "7", `{"sub":"7","id":7,"user_id":{"a":1}}`},
		{"map_nobody", "-", `{"role":"guest"}`},
		{"empty_map", "-", `{}`},
		{"tuple", "-", `{"data":["user",42]}`},
		{"empty_tuple", "-", `{"data":[]}`},
		{"keyword", "-", `{"data":[["user_id",42]]}`},
		{"charlist", "-", `{"data":[97,98,99]}`},
		{"list", "-", `{"data":[1,"a",null,[],[2.5]]}`},
		{"empty_list", "-", `{"data":[]}`},
		{"date", "-", `{"__struct__":"Elixir.Date","calendar":"Elixir.Calendar.ISO","day":29,"month":2,"year":2024}`},
		{"deep", "-", `{"data":` + strings.Repeat("[", 60) + "0" + strings.Repeat("]", 60) + `}`},
	} {
		claims, err := v.Verify(elixirTokens()[test.name], now)
		subject := claims.Subject
		if !claims.HasSubject {
			subject = "-"
		}
		if err != nil || subject != test.subject || string(claims.Raw) != test.claims || !claims.ExpiresAt.Equal(ends) {
			t.Errorf("%s: %q, %s, until %v, %v\nwant %q, %s", test.name, subject, claims.Raw, claims.ExpiresAt, err, test.subject, test.claims)
		}
	}
	for _, name := range []string{"map_large", "large_tuple", "long_string"} {
		if claims, err := v.Verify(elixirTokens()[name], now); err != nil || len(claims.Raw) < 200 {
			t.Errorf("%s: %s, %v", name, claims.Raw, err)
		}
	}
	for name, reason := range map[string]string{
		"large_big": "not data", "map_twice": "two keys", "map_float_key": "key is neither", "map_sub_map": "sub is neither", "improper": "improper",
		"raw_binary": "not UTF-8", "bits": "not data", "pid": "not data", "reference": "not data", "fun": "not data", "compressed": "not data",
		"too_deep": "too deep", "more_after": "more bytes", "cut": "too early", "not_a_term": "version", "number": "something else", "four": "something else",
		"signed_as_float": "not a number of milliseconds", "hs384": "not a token", "hs512": "not a token", "another_salt": "signature", "another_secret": "signature",
		"key_digest": "signature", "key_iterations": "signature", "key_length": "signature",
	} {
		if elixirTokens()[name] == "" {
			t.Errorf("no token %s", name)
		}
		wantBad(t, v, elixirTokens()[name], now, reason)
	}
}

// When tokens end, by their own max_age and by a verifier's.
func TestPhoenixTokenAge(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(signed*1000 + ms) }
	const day = 86400_000
	never := MaxAge{Set: true, Infinity: true}
	minute := MaxAge{Set: true, Age: time.Minute}
	for _, test := range []struct {
		name string
		age  MaxAge
		last int64 // the last millisecond after signed at which it is good; -1: never good
	}{
		{"integer", MaxAge{}, day},
		{"max_age", MaxAge{}, 60_000},
		{"max_age_float", MaxAge{}, 500},
		{"max_age_zero", MaxAge{}, -1},
		{"max_age_negative", MaxAge{}, -1},
		{"signed_later", MaxAge{}, 3600_000 + day},
		{"signed_fraction", MaxAge{}, 250 + day},
		{"phoenix_1_4", MaxAge{}, day},
		{"plug_crypto_1_1", MaxAge{}, day},
		{"integer", minute, 60_000},
		{"max_age", MaxAge{Set: true, Age: 2 * time.Minute}, 120_000}, // as in Phoenix the verifier's counts, longer or shorter
		{"max_age_infinity", minute, 60_000},
		{"max_age_zero", minute, 60_000},
		{"max_age_nil", minute, 60_000},
		{"phoenix_1_4", minute, 60_000},
	} {
		v := mustPhoenix(t, phoenixKey(), test.age)
		token := elixirTokens()[test.name]
		if test.last < 0 {
			wantBad(t, v, token, at(0), "expired")
			continue
		}
		claims, err := v.Verify(token, at(test.last))
		if err != nil || !claims.ExpiresAt.Equal(at(test.last)) {
			t.Errorf("%s: until %v, %v, want %v", test.name, claims.ExpiresAt, err, at(test.last))
		}
		wantBad(t, v, token, at(test.last+1), "expired")
		if _, err := v.Verify(token, at(0)); err != nil { // also before signed_at, as in Phoenix
			t.Errorf("%s: %v", test.name, err)
		}
	}
	century := at(100 * 365 * day)
	for name, age := range map[string]MaxAge{"max_age_infinity": {}, "integer": never, "max_age_zero": never, "signed_in_milliseconds": never, "signed_before_1970": {}} {
		if claims, err := mustPhoenix(t, phoenixKey(), age).Verify(elixirTokens()[name], century); err != nil || !claims.ExpiresAt.IsZero() {
			t.Errorf("%s: until %v, %v, want no end", name, claims.ExpiresAt, err)
		}
	}
	v := mustPhoenix(t, phoenixKey(), MaxAge{})
	wantBad(t, v, elixirTokens()["signed_in_milliseconds"], now, "beyond the year 9999")
	wantBad(t, v, elixirTokens()["max_age_nil"], now, "max_age is neither")
	wantBad(t, mustPhoenix(t, phoenixKey(), minute), elixirTokens()["signed_before_1970"], now, "expired")
}

// The options of sign/4, and what is no key.
func TestPhoenixKey(t *testing.T) {
	for name, change := range map[string]func(*PhoenixKey){
		"integer":        func(*PhoenixKey) {},
		"key_digest":     func(k *PhoenixKey) { k.Digest = "sha512" },
		"key_iterations": func(k *PhoenixKey) { k.Iterations = 2000 },
		"key_length":     func(k *PhoenixKey) { k.Length = 64 },
		"another_salt":   func(k *PhoenixKey) { k.Salt = "another" },
		"another_secret": func(k *PhoenixKey) { k.KeyBase = "x" + keyBase },
	} {
		k := phoenixKey()
		change(&k)
		v := mustPhoenix(t, k, MaxAge{})
		for _, other := range []string{"integer", "key_digest", "key_iterations", "key_length", "another_salt", "another_secret"} {
			if other != name {
				wantBad(t, v, elixirTokens()[other], now, "signature")
			} else if claims, err := v.Verify(elixirTokens()[other], now); err != nil || claims.Subject != "42" {
				t.Errorf("%s: %+v, %v", name, claims, err)
			}
		}
	}
	for want, change := range map[string]func(*PhoenixKey){
		"secret_key_base: 19 bytes": func(k *PhoenixKey) { k.KeyBase = keyBase[:19] },
		"secret_key_base: 0 bytes":  func(k *PhoenixKey) { k.KeyBase = "" },
		"salt: ":                    func(k *PhoenixKey) { k.Salt = "" },
		"key_iterations: 0;":        func(k *PhoenixKey) { k.Iterations = 0 },
		"key_length: 15;":           func(k *PhoenixKey) { k.Length = 15 },
		"key_length: 1025;":         func(k *PhoenixKey) { k.Length = 1025 },
		"key_iterations: 10000001;": func(k *PhoenixKey) { k.Iterations = 10_000_001 },
		`key_digest: "md5"`:         func(k *PhoenixKey) { k.Digest = "md5" },
	} {
		k := phoenixKey()
		change(&k)
		if _, err := NewPhoenixVerifier(k, MaxAge{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), keyBase[:10]) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What is no token, or was changed after it was signed.
func TestPhoenixTokenForm(t *testing.T) {
	v := mustPhoenix(t, phoenixKey(), MaxAge{})
	good := elixirTokens()["integer"]
	part := strings.Split(good, ".")
	for _, token := range []string{
		"", ".", "..", "garbage", part[0], part[0] + ".", part[1] + "." + part[2], part[0] + "." + part[1], part[0] + "." + part[1] + ".", part[0] + ".." + part[2],
		good + "=", good + ".", good + "\n", " " + good, good[:len(good)-1], good[:len(good)-1] + "9", good[:len(good)-1] + string(good[len(good)-1]+1),
		part[0] + "=." + part[1] + "." + part[2], "SFMzODQ." + part[1] + "." + part[2], "bm9uZQ." + part[1] + ".",
		part[0] + "." + part[1] + "=." + part[2], part[0] + "." + part[1][:10] + "\n" + part[1][10:] + "." + part[2],
		part[0] + "." + strings.Split(elixirTokens()["byte"], ".")[1] + "." + part[2],
		strings.Repeat("A", 1<<20), strings.Repeat(".", 1<<16), part[0] + "." + strings.Repeat("A", 1<<20) + "." + part[2],
	} {
		wantBad(t, v, token, now, "")
	}
	if _, err := v.Verify(good, now); err != nil {
		t.Error(err)
	}
}

// signPhoenix signs any payload with a key.
func signPhoenix(v *PhoenixVerifier, payload []byte) string {
	text := phoenixHeader + segment(payload)
	mac := hmac.New(sha256.New, v.key)
	mac.Write([]byte(text))
	return text + "." + segment(mac.Sum(nil))
}

// No other bytes in the place of a token are good.
func FuzzPhoenixToken(f *testing.F) {
	v := mustPhoenix(f, phoenixKey(), MaxAge{})
	for _, token := range elixirTokens() {
		f.Add(token)
	}
	made := map[string]bool{}
	for _, token := range elixirTokens() {
		made[token] = true
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := v.Verify(token, now)
		if (err == nil) == errors.Is(err, ErrBadToken) || err == nil && !made[token] {
			t.Errorf("%s, %v", claims.Raw, err)
		}
	})
}

// FuzzPhoenixPayload has the payload signed, so that it is read at all.
func FuzzPhoenixPayload(f *testing.F) {
	v := mustPhoenix(f, phoenixKey(), MaxAge{})
	for _, token := range elixirTokens() {
		if part := strings.Split(token, "."); len(part) == 3 {
			payload, err := base64.RawURLEncoding.DecodeString(part[1])
			if err != nil {
				f.Fatal(err)
			}
			f.Add(payload)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		claims, err := v.Verify(signPhoenix(v, payload), now)
		if (err == nil) == errors.Is(err, ErrBadToken) {
			t.Errorf("error %v", err)
		}
		if err != nil {
			return
		}
		// The claims are JSON that the gateway's own reader takes, and sub is the subject.
		if err := phx.CheckPayload(claims.Raw); err != nil {
			t.Fatalf("%q: %v", claims.Raw, err)
		}
		var sub []byte
		if err := pickFields(claims.Raw, map[string]*[]byte{"sub": &sub}); err != nil {
			t.Errorf("%s: %v", claims.Raw, err)
		}
		subject, err := parseString(sub)
		if claims.HasSubject != (sub != nil) || sub != nil && (err != nil || subject != claims.Subject) {
			t.Errorf("%s: subject %q, %v", claims.Raw, claims.Subject, claims.HasSubject)
		}
		if !claims.ExpiresAt.IsZero() && claims.ExpiresAt.UnixMilli() < now.UnixMilli() {
			t.Errorf("claims that ended at %v", claims.ExpiresAt)
		}
	})
}

func BenchmarkPhoenixVerify(b *testing.B) {
	v := mustPhoenix(b, phoenixKey(), MaxAge{})
	token := elixirTokens()["map_user_id"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(token, now); err != nil {
			b.Fatal(err)
		}
	}
}
