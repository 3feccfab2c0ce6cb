package authz

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// MinSecret is how many bytes a secret should have (RFC 7518 §3.2). A shorter one works, and can be guessed from a token.
const MinSecret = 32

// minRSABits is how many bits an RSA key must have (RFC 7518 §3.3).
const minRSABits = 2048

// key is one key with its algorithm.
type key struct {
	kid       string // "" where it has none
	algorithm jose.SignatureAlgorithm
	public    any // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or a secret's []byte
}

// oneKey is the only key there is. Its tokens may carry any kid: there is nothing to choose.
type oneKey struct{ key }

func (k oneKey) algorithms() []jose.SignatureAlgorithm { return []jose.SignatureAlgorithm{k.algorithm} }

func (k oneKey) find(string, jose.SignatureAlgorithm) ([]key, bool, error) {
	return []key{k.key}, true, nil
}

// SecretKey is a secret shared with the issuer; its tokens are signed with HS256. The bytes are taken as they are. An empty one is an error.
func SecretKey(secret string) (Keys, error) {
	if secret == "" {
		return nil, errors.New("the secret is empty")
	}
	// The zeros change no signature, since HMAC itself fills a short key up to 64 bytes with them (RFC 2104 §2); go-jose takes no key of less
	// than 32 bytes.
	padded := make([]byte, max(len(secret), MinSecret))
	copy(padded, secret)
	return oneKey{key{algorithm: jose.HS256, public: padded}}, nil
}

// ParsePublicKey reads a public key in PEM: "PUBLIC KEY" (RFC 5280) or "RSA PUBLIC KEY" (RFC 8017). The key says the algorithm: RS256 for RSA of at least
// 2048 bits, ES256 for P-256, EdDSA for Ed25519; other keys are an error. The error holds nothing of the file.
func ParsePublicKey(file []byte) (Keys, error) {
	block, rest := pem.Decode(file)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	if strings.Contains(block.Type, "PRIVATE") {
		return nil, errors.New("it holds a private key; a gateway needs the public one alone")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("it holds more than one key")
	}
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("it holds a %q; want a PUBLIC KEY", block.Type)
	}
	if err != nil {
		return nil, errors.New("the public key in it does not parse")
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits; want at least %d", public.N.BitLen(), minRSABits)
		}
		return oneKey{key{algorithm: jose.RS256, public: public}}, nil
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			return oneKey{key{algorithm: jose.ES256, public: public}}, nil
		}
	case ed25519.PublicKey:
		return oneKey{key{algorithm: jose.EdDSA, public: public}}, nil
	}
	return nil, errors.New("want a key of RSA, P-256 or Ed25519")
}
