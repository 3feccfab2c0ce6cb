package contracttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// signJWT makes a token: the secret's bytes sign with HS256, private keys with their one algorithm.
func signJWT(t *testing.T, key any, header, claims string) string {
	t.Helper()
	segment := base64.RawURLEncoding.EncodeToString
	input := segment([]byte(header)) + "." + segment([]byte(claims))
	hash := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key := key.(type) {
	case string:
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, key, hash[:])
		signature, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + segment(signature)
}

func publicKeyFile(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "public.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

// The algorithm is the key's: what a public key signs as a secret is refused.
func TestJWTPublicKeys(t *testing.T) {
	t.Parallel()
	nats := phxtest.StartNATS(t)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const claims = `{"sub":"1","exp":4000000000}`
	for _, own := range []struct {
		algorithm       string
		public, private any
	}{{"RS256", &r.PublicKey, r}, {"ES256", &p.PublicKey, p}, {"EdDSA", public, e}} {
		file := publicKeyFile(t, own.public)
		g := startGateway(t, nats, jwtRules, "CONNECT_AUTH=jwt", "JWT_PUBLIC_KEY_FILE="+file)
		if status := tokenStatus(t, g, signJWT(t, own.private, `{"alg":"`+own.algorithm+`"}`, claims)); status != 101 {
			t.Errorf("%s: status %d", own.algorithm, status)
		}
		der, err := x509.MarshalPKIXPublicKey(own.public)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{string(der), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))} {
			for _, algorithm := range []string{"HS256", own.algorithm} {
				if status := tokenStatus(t, g, signJWT(t, secret, `{"alg":"`+algorithm+`"}`, claims)); status != 403 {
					t.Errorf("%s, the public key as a secret: status %d", own.algorithm, status)
				}
			}
		}
	}
}

// Keys of a web server: 503 until it answers, exchanged for an unknown kid, kept when it is gone.
func TestJWTKeySet(t *testing.T) {
	t.Parallel()
	var body atomic.Value
	body.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if text := body.Load().(string); text != "" {
			_, _ = w.Write([]byte(text))
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	set := func(kid string) (ed25519.PrivateKey, string) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return private, fmt.Sprintf(`{"keys":[{"kty":"XX"},{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}]}`, kid, base64.RawURLEncoding.EncodeToString(public))
	}
	const claims = `{"sub":"1","exp":4000000000}`
	old, oldSet := set("old")
	renewed, newSet := set("new")
	oldToken, newToken := signJWT(t, old, `{"alg":"EdDSA","kid":"old"}`, claims), signJWT(t, renewed, `{"alg":"EdDSA","kid":"new"}`, claims)

	g, _ := setup(t, jwtRules, "CONNECT_AUTH=jwt", "JWT_JWKS_URL="+server.URL+"/keys?hidden=1")
	if status := tokenStatus(t, g, oldToken); status != 503 {
		t.Errorf("no keys yet: status %d, want 503", status)
	}
	body.Store(oldSet)
	waitFor(t, "the keys", func() bool { return tokenStatus(t, g, oldToken) == 101 })
	body.Store(newSet)
	if status := tokenStatus(t, g, newToken); status != 101 {
		t.Errorf("new key: status %d, want 101", status)
	}
	if status := tokenStatus(t, g, oldToken); status != 403 {
		t.Errorf("old key: status %d, want 403", status)
	}
	server.CloseClientConnections()
	server.Close()
	if status := tokenStatus(t, g, newToken); status != 101 {
		t.Errorf("server gone: status %d, want 101", status)
	}
	if strings.Contains(g.stderr.String(), "hidden") {
		t.Error("the log holds the URL")
	}
}
