package authz

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
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
)

// issuer signs tokens by RFC 7515's appendix A, without the library that reads them.
type issuer struct {
	private any // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, or a secret's []byte
}

const secret = "0123456789abcdef0123456789abcdef"

// issuers are made once: an RSA key takes a while.
var issuers = sync.OnceValue(func() (all struct{ rsa, rsa2, weak, p256, p384, ed25519, secret issuer }) {
	must := func(private any, err error) issuer {
		if err != nil {
			panic(err)
		}
		return issuer{private}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	all.ed25519 = must(ed, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	all.rsa = must(r, err)
	r, err = rsa.GenerateKey(rand.Reader, 2048)
	all.rsa2 = must(r, err)
	r, err = rsa.GenerateKey(rand.Reader, 1024)
	all.weak = must(r, err)
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	all.p256 = must(p, err)
	p, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	all.p384 = must(p, err)
	all.secret = issuer{[]byte(secret)}
	return all
})

func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign makes a token of a header and claims, whatever they are.
func (i issuer) sign(t testing.TB, header, claims string) string {
	t.Helper()
	input := segment([]byte(header)) + "." + segment([]byte(claims))
	hash := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch private := i.private.(type) {
	case []byte:
		mac := hmac.New(sha256.New, private)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, hash[:])
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, private, hash[:])
		if err == nil {
			size := (private.Params().BitSize + 7) / 8
			signature = s.FillBytes(make([]byte, size))
			signature = append(r.FillBytes(make([]byte, size)), signature...)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, []byte(input))
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + segment(signature)
}

func (i issuer) public() crypto.PublicKey { return i.private.(crypto.Signer).Public() }

func (i issuer) publicPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// jwk is the public key as a JWK (RFC 7518 §6), with more members: name, value JSON, name, value JSON.
func (i issuer) jwk(kid string, more ...string) string {
	members := map[string]json.RawMessage{}
	set := func(name, value string) { members[name] = json.RawMessage(`"` + value + `"`) }
	switch public := i.public().(type) {
	case *rsa.PublicKey:
		set("kty", "RSA")
		set("n", segment(public.N.Bytes()))
		set("e", segment(big.NewInt(int64(public.E)).Bytes()))
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		set("kty", "EC")
		set("crv", public.Params().Name)
		set("x", segment(point[1:1+half]))
		set("y", segment(point[1+half:]))
	case ed25519.PublicKey:
		set("kty", "OKP")
		set("crv", "Ed25519")
		set("x", segment(public))
	}
	if kid != "" {
		set("kid", kid)
	}
	for n := 0; n+1 < len(more); n += 2 {
		members[more[n]] = json.RawMessage(more[n+1])
	}
	out, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// header is a token's header; an empty kid is left out.
func header(algorithm, kid string) string {
	if kid == "" {
		return fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, algorithm)
	}
	return fmt.Sprintf(`{"alg":%q,"kid":%q}`, algorithm, kid)
}
