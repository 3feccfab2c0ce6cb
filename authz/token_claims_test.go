package authz

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestClaims(t *testing.T) {
	plain := &Verifier{Keys: mustSecret(t, secret)}
	strict := &Verifier{Keys: plain.Keys, Issuer: "https://issuer.example/", Audience: "chat"}
	const exp = `"exp":1700003600`
	for _, test := range []struct {
		name, claims string
		v            *Verifier
		reason       string // "": good
	}{
		{"the least", `{` + exp + `}`, plain, ""},
		{"spaces", " {\n" + exp + " }\n", plain, ""},
		{"not JSON", `{` + exp, plain, "not a JSON object"},
		{"not an object", `[{` + exp + `}]`, plain, "not a JSON object"},
		{"not UTF-8", "{\"a\":\"\xff\"," + exp + "}", plain, "not a JSON object"},
		{"empty", ``, plain, "not a JSON object"},
		{"very deep", `{` + exp + `,"a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, plain, "not a JSON object"},

		{"no exp", `{"sub":"42"}`, plain, "exp is missing"},
		{"exp null", `{"exp":null}`, plain, "exp is not a time"},
		{"exp as string", `{"exp":"1700003600"}`, plain, "exp is not a time"},
		{"exp as bool", `{"exp":true}`, plain, "exp is not a time"},
		{"exp as list", `{"exp":[1700003600]}`, plain, "exp is not a time"},
		{"exp with a fraction", `{"exp":1700000000.5}`, plain, ""},
		{"exp with an exponent", `{"exp":1.7000036e9}`, plain, ""},
		{"exp in milliseconds", `{"exp":1700003600000}`, plain, "exp is not a time"},
		{"exp in the year 9999", `{"exp":253402300799}`, plain, ""},
		{"exp huge", `{"exp":1e300}`, plain, "exp is not a time"},
		{"exp beyond numbers", `{"exp":1e999}`, plain, "exp is not a time"},
		{"exp negative", `{"exp":-1}`, plain, "exp is not a time"},
		{"exp twice", `{"exp":1,` + exp + `}`, plain, "twice"},
		{"exp twice, escaped", `{"\u0065xp":1,` + exp + `}`, plain, "twice"},
		{"exp of another case", `{"Exp":1700003600}`, plain, "exp is missing"},
		{"expired", `{"exp":1}`, plain, "expired"},
		{"expired for 29 s", `{"exp":1699999971}`, plain, ""},
		{"expired for 30 s", `{"exp":1699999970}`, plain, "expired"},

		{"nbf now", `{"nbf":1700000000,` + exp + `}`, plain, ""},
		{"nbf in 30 s", `{"nbf":1700000030,` + exp + `}`, plain, ""},
		{"nbf in 31 s", `{"nbf":1700000031,` + exp + `}`, plain, "nbf is in the future"},
		{"nbf as string", `{"nbf":"1",` + exp + `}`, plain, "nbf is not a time"},
		{"nbf null", `{"nbf":null,` + exp + `}`, plain, "nbf is not a time"},
		{"iat in 30 s", `{"iat":1700000030,` + exp + `}`, plain, ""},
		{"iat in 31 s", `{"iat":1700000031,` + exp + `}`, plain, "iat is in the future"},
		{"iat as string", `{"iat":"1",` + exp + `}`, plain, "iat is not a time"},

		{"sub is a number", `{"sub":42,` + exp + `}`, plain, "sub is not a string"},
		{"sub null", `{"sub":null,` + exp + `}`, plain, "sub is not a string"},
		{"sub is half a pair", `{"sub":"\ud800",` + exp + `}`, plain, "sub is not a string"},
		{"sub twice", `{"sub":"a","sub":"b",` + exp + `}`, plain, "twice"},
		{"sub long", `{"sub":"` + strings.Repeat("s", 300) + `",` + exp + `}`, plain, ""},

		{"iss and aud not looked at", `{"iss":7,"aud":{},` + exp + `}`, plain, ""},
		{"iss and aud", `{"iss":"https://issuer.example/","aud":"chat",` + exp + `}`, strict, ""},
		{"iss escaped", `{"iss":"https:\/\/issuer.example\/","aud":"chat",` + exp + `}`, strict, ""},
		{"aud in a list", `{"iss":"https://issuer.example/","aud":["other", "chat"],` + exp + `}`, strict, ""},
		{"iss missing", `{"aud":"chat",` + exp + `}`, strict, "iss is another"},
		{"iss another", `{"iss":"https://issuer.example","aud":"chat",` + exp + `}`, strict, "iss is another"},
		{"iss in a list", `{"iss":["https://issuer.example/"],"aud":"chat",` + exp + `}`, strict, "iss is another"},
		{"aud missing", `{"iss":"https://issuer.example/",` + exp + `}`, strict, "aud is another"},
		{"aud another", `{"iss":"https://issuer.example/","aud":"chats",` + exp + `}`, strict, "aud is another"},
		{"aud null", `{"iss":"https://issuer.example/","aud":null,` + exp + `}`, strict, "aud is another"},
		{"aud empty", `{"iss":"https://issuer.example/","aud":[],` + exp + `}`, strict, "aud is another"},
		{"aud nested", `{"iss":"https://issuer.example/","aud":[["chat"]],` + exp + `}`, strict, "aud is another"},
		{"aud mixed", `{"iss":"https://issuer.example/","aud":["chat",7],` + exp + `}`, strict, "aud is another"},
		{"aud an object", `{"iss":"https://issuer.example/","aud":{"chat":1},` + exp + `}`, strict, "aud is another"},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := issuers().secret.sign(t, header("HS256", ""), test.claims)
			if test.reason != "" {
				wantBad(t, test.v, token, now, test.reason)
				return
			}
			claims, err := test.v.Verify(token, now)
			if err != nil || string(claims.Raw) != test.claims {
				t.Errorf("got %+v, %v", claims, err)
			}
		})
	}
}

// The socket ends with its token, or with the leeway for one that is let in within it.
func TestClaimsEnd(t *testing.T) {
	v := &Verifier{Keys: mustSecret(t, secret)}
	for _, test := range []struct {
		exp  string
		want time.Duration // from now
	}{
		{"1700003600", time.Hour},
		{"1700000001", time.Second},
		{"1700000000.25", 250 * time.Millisecond},
		{"1700000000", 30 * time.Second},
		{"1699999999", 29 * time.Second},
		{"1699999971", time.Second},
	} {
		claims, err := v.Verify(issuers().secret.sign(t, header("HS256", ""), fmt.Sprintf(`{"exp":%s}`, test.exp)), now)
		if got := claims.ExpiresAt.Sub(now); err != nil || got != test.want {
			t.Errorf("exp %s: ends in %v, want %v (%v)", test.exp, got, test.want, err)
		}
	}
}

func TestClaimsSubject(t *testing.T) {
	v := &Verifier{Keys: mustSecret(t, secret)}
	for claims, want := range map[string]Claims{
		`{"exp":1700003600}`:                            {},
		`{"exp":1700003600,"sub":""}`:                   {HasSubject: true},
		`{"exp":1700003600,"sub":"\u00e9\ud83d\ude00"}`: {HasSubject: true, Subject: "é😀"},
	} {
		got, err := v.Verify(issuers().secret.sign(t, header("HS256", ""), claims), now)
		if err != nil || got.HasSubject != want.HasSubject || got.Subject != want.Subject {
			t.Errorf("%s: %+v, %v", claims, got, err)
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	is := issuers()
	for _, test := range []struct {
		name   string
		file   []byte
		reason string
	}{
		{"empty", nil, "not a PEM file"},
		{"a secret", []byte(secret), "not a PEM file"},
		{"private key", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "private key"},
		{"certificate", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "want a PUBLIC KEY"},
		{"broken", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "does not parse"},
		{"two keys", append(is.rsa.publicPEM(t), is.p256.publicPEM(t)...), "more than one"},
		{"1024 bits", is.weak.publicPEM(t), "1024 bits"},
		{"P-384", is.p384.publicPEM(t), "want a key of RSA"},
	} {
		keys, err := ParsePublicKey(test.file)
		if keys != nil || err == nil || !strings.Contains(err.Error(), test.reason) || errors.Is(err, ErrBadToken) {
			t.Errorf("%s: %v, %v, want %q", test.name, keys, err, test.reason)
		}
	}
}
