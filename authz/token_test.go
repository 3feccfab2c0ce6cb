package authz

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// now is the time of these tests; exp is an hour later.
var now = time.Unix(1_700_000_000, 0)

const goodClaims = `{"sub":"42","exp":1700003600}`

func mustSecret(t testing.TB, s string) Keys {
	t.Helper()
	keys, err := SecretKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func mustPublic(t testing.TB, i issuer) Keys {
	t.Helper()
	keys, err := ParsePublicKey(i.publicPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// wantBad wants a token refused for a reason, in an error that holds nothing of the token.
func wantBad(t *testing.T, v TokenVerifier, token string, at time.Time, reason string) {
	t.Helper()
	claims, err := v.Verify(token, at)
	if !errors.Is(err, ErrBadToken) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %+v, %v, want a bad token: %s", claims, err, reason)
		return
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 3 && strings.Contains(err.Error(), part) {
			t.Errorf("the error holds a part of the token: %v", err)
		}
	}
	if claims.Raw != nil || claims.HasSubject {
		t.Errorf("claims of a bad token: %+v", claims)
	}
}

// Each key verifies tokens of its own algorithm and no other's.
func TestVerifyAlgorithms(t *testing.T) {
	is := issuers()
	keys := []struct {
		algorithm string
		issuer    issuer
		keys      Keys
	}{
		{"HS256", is.secret, mustSecret(t, secret)},
		{"RS256", is.rsa, mustPublic(t, is.rsa)},
		{"ES256", is.p256, mustPublic(t, is.p256)},
		{"EdDSA", is.ed25519, mustPublic(t, is.ed25519)},
	}
	for _, own := range keys {
		v := &Verifier{Keys: own.keys}
		for _, signer := range keys {
			for _, named := range []string{"HS256", "HS384", "HS512", "RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA", "none", "None", "", "hs256"} {
				token := signer.issuer.sign(t, header(named, ""), goodClaims)
				switch {
				case named != own.algorithm:
					wantBad(t, v, token, now, "algorithm")
				case signer.algorithm != own.algorithm:
					wantBad(t, v, token, now, "signature")
				default:
					claims, err := v.Verify(token, now)
					if err != nil || claims.Subject != "42" || string(claims.Raw) != goodClaims || !claims.ExpiresAt.Equal(time.Unix(1700003600, 0)) {
						t.Errorf("%s: %+v, %v", named, claims, err)
					}
				}
			}
		}
	}
	// What an attacker knows of an RSA key, taken as a secret (RFC 8725 §2.1).
	confused := issuer{is.rsa.publicPEM(t)}
	wantBad(t, &Verifier{Keys: mustPublic(t, is.rsa)}, confused.sign(t, header("HS256", ""), goodClaims), now, "algorithm")
	wantBad(t, &Verifier{Keys: mustPublic(t, is.rsa)}, confused.sign(t, header("RS256", ""), goodClaims), now, "signature")
	wantBad(t, &Verifier{Keys: mustPublic(t, is.rsa)}, is.rsa2.sign(t, header("RS256", ""), goodClaims), now, "signature")
}

// A secret is taken as its bytes, of any length.
func TestVerifySecrets(t *testing.T) {
	for _, s := range []string{"x", "secret", strings.Repeat("s", 31), strings.Repeat("s", 32), strings.Repeat("s", 64), strings.Repeat("s", 65), "é\x00ü"} {
		v := &Verifier{Keys: mustSecret(t, s)}
		if _, err := v.Verify(issuer{[]byte(s)}.sign(t, header("HS256", "any"), goodClaims), now); err != nil {
			t.Errorf("secret of %d bytes: %v", len(s), err)
		}
		wantBad(t, v, issuer{[]byte(s + "s")}.sign(t, header("HS256", ""), goodClaims), now, "signature")
	}
	if _, err := SecretKey(""); err == nil {
		t.Error("an empty secret is taken")
	}
}

// What is no token in compact form, or was changed after it was signed.
func TestVerifyForm(t *testing.T) {
	v := &Verifier{Keys: mustSecret(t, secret)}
	good := issuers().secret.sign(t, header("HS256", ""), goodClaims)
	part := strings.Split(good, ".")
	for _, test := range []struct{ name, token, reason string }{
		{"empty", "", "not a signed JWT"},
		{"garbage", "garbage", "not a signed JWT"},
		{"one dot", "a.b", "not a signed JWT"},
		{"two dots alone", "..", "algorithm"},
		{"three dots", good + ".", "not a signed JWT"},
		{"encrypted form", "a.b.c.d.e", "not a signed JWT"},
		{"JSON form", `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`, "not a signed JWT"},
		{"no signature", part[0] + "." + part[1] + ".", "signature"},
		{"none", segment([]byte(`{"alg":"none"}`)) + "." + part[1] + ".", "algorithm"},
		{"no algorithm", segment([]byte(`{"typ":"JWT"}`)) + "." + part[1] + "." + part[2], "algorithm"},
		{"header is no object", segment([]byte(`[]`)) + "." + part[1] + "." + part[2], "not a signed JWT"},
		{"header is no JSON", segment([]byte(`{"alg"`)) + "." + part[1] + "." + part[2], "not a signed JWT"},
		{"algorithm twice", segment([]byte(`{"alg":"none","alg":"HS256"}`)) + "." + part[1] + "." + part[2], "not a signed JWT"},
		{"kid is no string", issuers().secret.sign(t, `{"alg":"HS256","kid":7}`, goodClaims), "not a signed JWT"},
		{"other claims", part[0] + "." + segment([]byte(`{"sub":"43","exp":1700003600}`)) + "." + part[2], "signature"},
		{"signature cut", good[:len(good)-4], "signature"},
		{"padding", good + "=", "not a signed JWT"},
		{"space before", " " + good, "not a signed JWT"},
		{"another alphabet", part[0] + "." + part[1] + ".+/+/", "not a signed JWT"},
		{"critical header", issuers().secret.sign(t, `{"alg":"HS256","crit":["exp"],"exp":1}`, goodClaims), "critical"},
		{"b64", issuers().secret.sign(t, `{"alg":"HS256","crit":["b64"],"b64":false}`, goodClaims), "critical"},
		{"huge", strings.Repeat("A", 1<<20), "not a signed JWT"},
		{"huge claims", part[0] + "." + strings.Repeat("A", 1<<20) + "." + part[2], "signature"},
		{"dots", strings.Repeat(".", 1<<16), "not a signed JWT"},
	} {
		t.Run(test.name, func(t *testing.T) { wantBad(t, v, test.token, now, test.reason) })
	}
	if _, err := v.Verify(good, now); err != nil {
		t.Errorf("the token that was changed: %v", err)
	}
}

// A token that brings a key along is not verified with it (RFC 8725 §3.10).
func TestVerifyIgnoresKeysOfTheToken(t *testing.T) {
	is := issuers()
	v := &Verifier{Keys: mustPublic(t, is.rsa)}
	token := is.rsa2.sign(t, `{"alg":"RS256","jwk":`+is.rsa2.jwk("")+`,"jku":"http://127.0.0.1:1/"}`, goodClaims)
	wantBad(t, v, token, now, "signature")
}

// A signed token does not become good by other bytes in its place.
func FuzzVerify(f *testing.F) {
	is := issuers()
	keys, _, err := parseKeySet([]byte(jwks(is.rsa.jwk("r"), is.p256.jwk("p"), is.ed25519.jwk("e"), is.p384.jwk(""))))
	if err != nil {
		f.Fatal(err)
	}
	set := NewKeySet("", nil)
	set.keys.Store(&keys)
	verifiers := []*Verifier{{Keys: mustSecret(f, secret), Issuer: "i", Audience: "a"}, {Keys: mustPublic(f, is.rsa)}, {Keys: set}}
	claims := `{"sub":"42","exp":1700003600,"nbf":1,"iat":1.5,"iss":"i","aud":["a","b"]}`
	for algorithm, signer := range map[string]issuer{"HS256": is.secret, "RS256": is.rsa, "ES256": is.p256, "EdDSA": is.ed25519} {
		for _, kid := range []string{"", "r", "p", "e"} {
			f.Add(signer.sign(f, header(algorithm, kid), claims))
		}
	}
	f.Add("..")
	f.Add(segment([]byte(`{"alg":"RS256","x5c":["AA=="],"jwk":{"kty":"EC"}}`)) + ".e30.AA")
	f.Fuzz(func(t *testing.T, token string) {
		for _, v := range verifiers {
			claims, err := v.Verify(token, now)
			if err != nil && !errors.Is(err, ErrBadToken) {
				t.Errorf("error %v", err)
			}
			if err == nil && !now.Before(claims.ExpiresAt) {
				t.Errorf("claims that ended at %v", claims.ExpiresAt)
			}
		}
	})
}

// FuzzClaims has the claims signed, so that they are read at all.
func FuzzClaims(f *testing.F) {
	v := &Verifier{Issuer: "i", Audience: "a"}
	for _, claims := range []string{goodClaims, `{"exp":1700003600,"iss":"i","aud":["a"],"nbf":0,"iat":0,"sub":"\ud800"}`, `{"exp":1e400}`, `[]`, ``} {
		f.Add(claims)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		got, err := v.checkClaims([]byte(claims), now)
		if (err == nil) == errors.Is(err, ErrBadToken) || (err == nil) != (string(got.Raw) == claims && claims != "") {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	is := issuers()
	for _, bench := range []struct {
		algorithm string
		issuer    issuer
		keys      Keys
	}{
		{"HS256", is.secret, mustSecret(b, secret)}, {"RS256", is.rsa, mustPublic(b, is.rsa)},
		{"ES256", is.p256, mustPublic(b, is.p256)}, {"EdDSA", is.ed25519, mustPublic(b, is.ed25519)},
	} {
		b.Run(bench.algorithm, func(b *testing.B) {
			v := &Verifier{Keys: bench.keys}
			token := bench.issuer.sign(b, header(bench.algorithm, ""), goodClaims)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
