package authz

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestParseKeySet(t *testing.T) {
	is := issuers()
	good := is.p256.jwk("good")
	for _, test := range []struct {
		name, body string
		want       []string // kid and algorithm of each key; nil: an error
	}{
		{"each type", jwks(is.rsa.jwk("r"), is.p256.jwk("p"), is.p384.jwk("q"), is.ed25519.jwk("e")), []string{"r RS256", "p ES256", "q ES384", "e EdDSA"}},
		{"its own algorithm", jwks(is.rsa.jwk("a", "alg", `"PS384"`), is.rsa.jwk("b", "alg", `"RS512"`)), []string{"a PS384", "b RS512"}},
		{"no kid", jwks(is.rsa.jwk("")), []string{" RS256"}},
		{"for signatures", jwks(is.rsa.jwk("r", "use", `"sig"`, "key_ops", `["verify"]`, "more", "[1]")), []string{"r RS256"}},
		{"one kid twice", jwks(is.rsa.jwk("k"), is.rsa2.jwk("k"), is.p256.jwk("k")), []string{"k RS256", "k RS256", "k ES256"}},

		{"unknown type passed over", jwks(`{"kty":"XYZ","kid":"x"}`, good), []string{"good ES256"}},
		{"no type passed over", jwks(`{"kid":"x"}`, good), []string{"good ES256"}},
		{"unknown curve passed over", jwks(is.p256.jwk("x", "crv", `"secp256k1"`), good), []string{"good ES256"}},
		{"another curve's point passed over", jwks(is.p256.jwk("x", "y", `"`+segment(make([]byte, 32))+`"`), good), []string{"good ES256"}},
		{"broken passed over", jwks(is.rsa.jwk("x", "n", `"?"`), is.rsa.jwk("x", "n", "7"), `7`, `null`, `[]`, good), []string{"good ES256"}},
		{"secret passed over", jwks(`{"kty":"oct","kid":"x","k":"`+segment([]byte(secret))+`"}`, good), []string{"good ES256"}},
		{"secret with an algorithm passed over", jwks(`{"kty":"oct","alg":"HS256","kid":"x","k":"`+segment([]byte(secret))+`"}`, good), []string{"good ES256"}},
		{"private passed over", jwks(is.ed25519.jwk("x", "d", `"`+segment(make([]byte, 32))+`"`), good), []string{"good ES256"}},
		{"for encryption passed over", jwks(is.rsa.jwk("x", "use", `"enc"`), is.rsa.jwk("y", "alg", `"RSA-OAEP"`), is.rsa.jwk("z", "key_ops", `["encrypt"]`), good), []string{"good ES256"}},
		{"another type's algorithm passed over", jwks(is.rsa.jwk("x", "alg", `"HS256"`), is.rsa.jwk("y", "alg", `"none"`), is.p256.jwk("z", "alg", `"ES384"`), good), []string{"good ES256"}},
		{"short RSA passed over", jwks(is.weak.jwk("x"), good), []string{"good ES256"}},

		{"none", jwks(), nil},
		{"none of use", jwks(is.weak.jwk("x")), nil},
		{"no list", `{}`, nil},
		{"null", `{"keys":null}`, nil},
		{"an object", `{"keys":{}}`, nil},
		{"one key alone", good, nil},
		{"a list alone", `[` + good + `]`, nil},
		{"web page", "<html></html>", nil},
		{"cut off", jwks(good)[:40], nil},
		{"empty", "", nil},
		{"not UTF-8", `{"a":"` + "\xff" + `",` + jwks(good)[1:], nil},
		{"very deep", strings.Repeat("[", 5000), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, skipped, err := parseKeySet([]byte(test.body))
			var got []string
			for _, k := range keys {
				got = append(got, fmt.Sprintf("%s %s", k.kid, k.algorithm))
			}
			if !slices.Equal(got, test.want) || (err == nil) != (test.want != nil) {
				t.Errorf("got %q, %d passed over, %v, want %q", got, skipped, err, test.want)
			}
		})
	}
}

func TestParseKeySetIsBounded(t *testing.T) {
	var list []string
	for i := range 3 * maxKeys {
		list = append(list, issuers().p256.jwk(fmt.Sprint(i)))
	}
	keys, skipped, err := parseKeySet([]byte(jwks(list...)))
	if err != nil || len(keys) != maxKeys || skipped != 2*maxKeys || keys[0].kid != "0" {
		t.Errorf("%d keys, %d passed over, %v", len(keys), skipped, err)
	}
}

// Which keys a token means.
func TestFindKey(t *testing.T) {
	is := issuers()
	set := func(keys ...string) *Verifier {
		list, _, err := parseKeySet([]byte(jwks(keys...)))
		if err != nil {
			t.Fatal(err)
		}
		s := NewKeySet("", nil)
		s.keys.Store(&list)
		return &Verifier{Keys: s}
	}
	several := set(is.rsa.jwk("r1"), is.rsa2.jwk("r2"), is.p256.jwk("p"))
	nameless := set(is.rsa.jwk(""), is.p256.jwk("p"))
	twice := set(is.rsa.jwk("k"), is.rsa2.jwk("k"), is.p256.jwk("k"))
	for _, test := range []struct {
		name   string
		v      *Verifier
		token  string
		reason string // "": good
	}{
		{"its kid", several, is.rsa2.sign(t, header("RS256", "r2"), goodClaims), ""},
		{"another's kid", several, is.rsa2.sign(t, header("RS256", "r1"), goodClaims), "signature"},
		{"kid of another type", several, is.rsa2.sign(t, header("RS256", "p"), goodClaims), "not its key's"},
		{"unknown kid", several, is.rsa2.sign(t, header("RS256", "r3"), goodClaims), "no key has its kid"},
		{"no kid: all that fit", several, is.rsa2.sign(t, header("RS256", ""), goodClaims), ""},
		{"no kid, no key fits", several, is.ed25519.sign(t, header("EdDSA", ""), goodClaims), "not its key's"},
		{"no kid, a key that is not there", set(is.rsa.jwk("r")), is.rsa2.sign(t, header("RS256", ""), goodClaims), "signature"},
		{"algorithm that the key is not for", several, is.rsa.sign(t, header("PS256", "r1"), goodClaims), "not its key's"},
		{"HS256 with the public key", several, issuer{is.rsa.publicPEM(t)}.sign(t, header("HS256", "r1"), goodClaims), "none of the keys'"},
		{"a kid for a key without one", nameless, is.rsa.sign(t, header("RS256", "any"), goodClaims), ""},
		{"a kid for no key without one", nameless, is.rsa2.sign(t, header("RS256", "any"), goodClaims), "no key has its kid"},
		{"one kid twice, first", twice, is.rsa.sign(t, header("RS256", "k"), goodClaims), ""},
		{"one kid twice, second", twice, is.rsa2.sign(t, header("RS256", "k"), goodClaims), ""},
		{"one kid twice, another type", twice, is.p256.sign(t, header("ES256", "k"), goodClaims), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.reason != "" {
				wantBad(t, test.v, test.token, now, test.reason)
			} else if _, err := test.v.Verify(test.token, now); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := (&Verifier{Keys: NewKeySet("", nil)}).Verify(is.rsa.sign(t, header("RS256", "r"), goodClaims), now)
	if !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("no keys yet: %v", err)
	}
}

// The kid of a token that does not say which is not a key's empty one.
func TestFindKeyKnown(t *testing.T) {
	keys := []key{{kid: "a", algorithm: jose.RS256}, {algorithm: jose.RS256}}
	for kid, want := range map[string]struct {
		n     int
		known bool
	}{"": {2, true}, "a": {1, true}, "b": {1, false}} {
		if got, known := findKey(keys, kid, jose.RS256); len(got) != want.n || known != want.known {
			t.Errorf("kid %q: %d keys, known %v, want %v", kid, len(got), known, want)
		}
	}
}
