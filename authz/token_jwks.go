package authz

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/phxgate/phxgate/gateway/phx"
)

// maxKeys is how many keys of a set are used. It bounds what a token without a kid costs, for which every key is tried.
const maxKeys = 64

// keySetAlgorithms are what a key of a set may be for, by the key's type; the first is meant where the key names none (RFC 7518 §3.1, RFC 8037 §3.1).
// There is no HS256: a secret that is published is none.
var keySetAlgorithms = struct{ rsa, p256, p384, p521, ed25519, all []jose.SignatureAlgorithm }{
	rsa:     []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512},
	p256:    []jose.SignatureAlgorithm{jose.ES256},
	p384:    []jose.SignatureAlgorithm{jose.ES384},
	p521:    []jose.SignatureAlgorithm{jose.ES512},
	ed25519: []jose.SignatureAlgorithm{jose.EdDSA},
	all: []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA},
}

// parseKeySet reads a JWK Set (RFC 7517 §5): the keys that verify tokens, at most maxKeys, and how many others it holds. Keys of unknown types, for encryption,
// too short, secret or broken are passed over; a set with none that can be used is an error.
func parseKeySet(body []byte) (keys []key, skipped int, err error) {
	if phx.CheckPayload(body) != nil {
		return nil, 0, errors.New("the answer is not a JSON object")
	}
	list, _ := phx.Member(body, "keys")
	var all []json.RawMessage
	if len(list) == 0 || list[0] != '[' || json.Unmarshal(list, &all) != nil {
		return nil, 0, errors.New("the answer has no list of keys")
	}
	for _, raw := range all {
		if k, ok := parseJWK(raw); ok && len(keys) < maxKeys {
			keys = append(keys, k)
		} else {
			skipped++
		}
	}
	if len(keys) == 0 {
		return nil, skipped, errors.New("the answer has no key that verifies tokens")
	}
	return keys, skipped, nil
}

// parseJWK reads one key, JSON that was checked.
func parseJWK(raw []byte) (key, bool) {
	if !phx.IsObject(raw) || isSecretJWK(raw) {
		return key{}, false
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(raw) != nil || jwk.Use != "" && jwk.Use != "sig" || !forVerifying(raw) {
		return key{}, false
	}
	algorithms := algorithmsOf(jwk.Key)
	if len(algorithms) == 0 {
		return key{}, false
	}
	k := key{kid: jwk.KeyID, algorithm: algorithms[0], public: jwk.Key}
	if jwk.Algorithm != "" {
		k.algorithm = jose.SignatureAlgorithm(jwk.Algorithm)
	}
	return k, slices.Contains(algorithms, k.algorithm)
}

// isSecretJWK reports whether a key has members of secret or private keys (RFC 7518 §6). Such a key must not be trusted, having been shown around.
func isSecretJWK(raw []byte) (secret bool) {
	phx.EachMember(raw, func(name, _ []byte) bool {
		switch string(name) {
		case "k", "d", "p", "q", "dp", "dq", "qi", "oth", "priv":
			secret = true
		}
		return !secret
	})
	return secret
}

// forVerifying reports whether the key's key_ops (RFC 7517 §4.3), where it has them, hold "verify".
func forVerifying(raw []byte) bool {
	ops, has := phx.Member(raw, "key_ops")
	if !has {
		return true
	}
	var list []string
	return json.Unmarshal(ops, &list) == nil && slices.Contains(list, "verify")
}

// algorithmsOf are those that a public key can be for, none for one that must not be used.
func algorithmsOf(public any) []jose.SignatureAlgorithm {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() >= minRSABits {
			return keySetAlgorithms.rsa
		}
	case *ecdsa.PublicKey:
		switch public.Curve.Params().Name {
		case "P-256":
			return keySetAlgorithms.p256
		case "P-384":
			return keySetAlgorithms.p384
		case "P-521":
			return keySetAlgorithms.p521
		}
	case ed25519.PublicKey:
		return keySetAlgorithms.ed25519
	}
	return nil
}

// findKey picks those of keys that a token with this header may be signed with; see [Keys]. A key without a kid may be meant by any.
func findKey(keys []key, kid string, algorithm jose.SignatureAlgorithm) (candidates []key, known bool) {
	var nameless []key
	for _, k := range keys {
		known = known || k.kid == kid
		if k.algorithm != algorithm {
			continue
		}
		if kid == "" || k.kid == kid {
			candidates = append(candidates, k)
		} else if k.kid == "" {
			nameless = append(nameless, k)
		}
	}
	if kid == "" || known {
		return candidates, true
	}
	return nameless, false
}
