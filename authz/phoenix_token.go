package authz

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/phxgate/phxgate/authz/etf"
)

// MinKeyBase is how many bytes a secret key base has at least (Phoenix 1.8 token.ex, get_key_base/1).
const MinKeyBase = 20

const (
	// maxKeyIterations bounds the time that a key takes at the start to some seconds.
	maxKeyIterations = 10_000_000
	minKeyLength     = 16
	maxKeyLength     = 1024
)

// PhoenixKey is what a Phoenix app signs tokens with. The fields but the first two are options of Phoenix.Token.sign/4.
type PhoenixKey struct {
	KeyBase    string // secret_key_base of the endpoint, at least MinKeyBase bytes
	Salt       string // the second argument of sign/4, not empty
	Iterations int    // key_iterations, 1 to 10,000,000; Phoenix: 1000
	Length     int    // key_length in bytes, 16 to 1024; Phoenix: 32
	Digest     string // key_digest: sha256, sha384 or sha512; Phoenix: sha256
}

// PhoenixKeyError says what is wrong with a PhoenixKey, without a secret.
type PhoenixKeyError struct {
	Option string // secret_key_base, salt, or the option's name
	Reason string
}

func (e *PhoenixKeyError) Error() string { return e.Option + ": " + e.Reason }

// derive is the key that HMAC takes (plug_crypto key_generator.ex: PBKDF2, RFC 8018 §5.2).
func (k *PhoenixKey) derive() ([]byte, error) {
	digests := map[string]func() hash.Hash{"sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}
	digest, known := digests[k.Digest]
	for _, check := range []struct {
		ok             bool
		option, reason string
	}{
		{len(k.KeyBase) >= MinKeyBase, "secret_key_base", fmt.Sprintf("%d bytes; want at least %d", len(k.KeyBase), MinKeyBase)},
		{k.Salt != "", "salt", "it is empty"},
		{k.Iterations >= 1 && k.Iterations <= maxKeyIterations, "key_iterations", fmt.Sprintf("%d; want 1 to %d", k.Iterations, maxKeyIterations)},
		{k.Length >= minKeyLength && k.Length <= maxKeyLength, "key_length", fmt.Sprintf("%d; want %d to %d", k.Length, minKeyLength, maxKeyLength)},
		{known, "key_digest", fmt.Sprintf("%q is none of sha256, sha384, sha512", k.Digest)},
	} {
		if !check.ok {
			return nil, &PhoenixKeyError{check.option, check.reason}
		}
	}
	return pbkdf2.Key(digest, k.KeyBase, []byte(k.Salt), k.Iterations, k.Length)
}

// MaxAge is how old a token may be: the max_age of Phoenix.Token.verify/4. The zero value is the option left out: the token's own max_age holds, which
// sign/4 writes (86400 s unless told otherwise).
type MaxAge struct {
	Set      bool
	Infinity bool          // with Set: tokens do not expire
	Age      time.Duration // with Set and without Infinity: more than zero
}

// PhoenixVerifier checks tokens that Phoenix.Token.sign/4 made; not those of encrypt/4. Its methods may be called from any goroutine.
type PhoenixVerifier struct {
	key    []byte
	maxAge MaxAge
}

// NewPhoenixVerifier derives the key of a verifier; an error is a *[PhoenixKeyError].
func NewPhoenixVerifier(k PhoenixKey, maxAge MaxAge) (*PhoenixVerifier, error) {
	key, err := k.derive()
	if err != nil {
		return nil, err
	}
	return &PhoenixVerifier{key: key, maxAge: maxAge}, nil
}

// phoenixHeader begins every token of sign/4: "HS256" in base64url. It is not taken from the token: sign/4 has no other, whatever its options.
const phoenixHeader = "SFMyNTY."

// Verify returns what a token says that the key signed and that is not too old at now, as verify/4 of Phoenix 1.8 (plug_crypto crypto.ex,
// message_verifier.ex), without leeway. A token that was signed later than now is not refused for that, as there, unless it would keep beyond the year
// 9999. An error wraps ErrBadToken.
//
// The subject is the data of the token, where that is an integer or a string; where it is a map, the value of its first key of sub, user_id and id whose value
// is an integer or a string, and a sub that is neither is a bad token. Claims.Raw is {"data": the data} or, for a map, the map's keys and values;
// both with "sub", the subject as a string, where there is one. See [etf.AppendJSON] for how terms look in JSON.
func (v *PhoenixVerifier) Verify(token string, now time.Time) (Claims, error) {
	payload, err := v.open(token)
	if err != nil {
		return Claims{}, err
	}
	term, err := etf.Decode(payload)
	if err != nil {
		return Claims{}, badToken(err.Error())
	}
	data, signedAt, maxAge, ok := phoenixParts(term)
	if !ok {
		return Claims{}, badToken("it holds something else than data, a time and an age")
	}
	expires, err := v.expiry(signedAt, maxAge, now)
	if err != nil {
		return Claims{}, err
	}
	claims, err := phoenixClaims(data)
	claims.ExpiresAt = expires
	return claims, err
}

// open checks the signature of header.payload.signature and returns the payload.
func (v *PhoenixVerifier) open(token string) ([]byte, error) {
	rest, ok := strings.CutPrefix(token, phoenixHeader)
	text, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return nil, badToken("not a token of Phoenix.Token.sign")
	}
	mac := hmac.New(sha256.New, v.key)
	mac.Write([]byte(phoenixHeader + text))
	if want := base64.RawURLEncoding.AppendEncode(nil, mac.Sum(nil)); !hmac.Equal(want, []byte(signature)) {
		return nil, badToken("its signature is not of the key")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, badToken("its payload is not base64url")
	}
	return payload, nil
}

// oldMaxAge is the age, in seconds, of tokens that do not name theirs.
const oldMaxAge = int64(86400)

// phoenixParts takes a payload apart: {data, signed_at, max_age} or, of older versions, {data, signed_at} (plug_crypto 1.1) and %{data:, signed:} (Phoenix
// before 1.5).
func phoenixParts(term any) (data, signedAt, maxAge any, ok bool) {
	switch term := term.(type) {
	case etf.Tuple:
		switch len(term) {
		case 3:
			return term[0], term[1], term[2], true
		case 2:
			return term[0], term[1], oldMaxAge, true
		}
	case etf.Map:
		for _, p := range term {
			switch p.Key {
			case etf.Atom("data"):
				data = p.Value
			case etf.Atom("signed"):
				signedAt = p.Value
			}
		}
		return data, signedAt, oldMaxAge, data != nil && signedAt != nil
	}
	return nil, nil, nil, false
}

// expiry is when the token ends, zero for never, given its signed_at in milliseconds and max_age in seconds; an error if that is past.
func (v *PhoenixVerifier) expiry(signedAt, maxAge any, now time.Time) (time.Time, error) {
	signed, ok := signedAt.(int64)
	if !ok {
		return time.Time{}, badToken("its time is not a number of milliseconds")
	}
	age, infinity := v.maxAge.Age.Milliseconds(), v.maxAge.Infinity
	if !v.maxAge.Set {
		if age, infinity, ok = ownMaxAge(maxAge); !ok {
			return time.Time{}, badToken("its max_age is neither a number of seconds nor infinity")
		}
	}
	const latest = maxUnixSeconds * 1000
	switch {
	case infinity:
		return time.Time{}, nil
	case age <= 0:
		return time.Time{}, badToken("expired")
	case signed > latest-age:
		return time.Time{}, badToken("it would keep beyond the year 9999: signed_at is in seconds")
	case signed+age < now.UnixMilli():
		return time.Time{}, badToken("expired")
	}
	return time.UnixMilli(signed + age), nil
}

// ownMaxAge is a token's max_age in milliseconds, at most until the year 9999.
func ownMaxAge(term any) (ms int64, infinity, ok bool) {
	const longest = maxUnixSeconds * 1000
	switch age := term.(type) {
	case int64:
		if age > longest/1000 {
			return longest, false, true
		}
		return max(age, 0) * 1000, false, true
	case float64:
		return int64(math.Trunc(min(max(age, 0)*1000, longest))), false, true
	case etf.Atom:
		return 0, true, age == "infinity"
	}
	return 0, false, false
}

// phoenixClaims is what a token's data says; see [PhoenixVerifier.Verify].
func phoenixClaims(data any) (claims Claims, err error) {
	pairs, isMap := data.(etf.Map)
	if !isMap {
		pairs = etf.Map{{Key: "data", Value: data}}
		claims.Subject, claims.HasSubject = subjectOf(data)
	} else if pairs, err = pickSubject(&claims, pairs); err != nil {
		return Claims{}, err
	}
	if claims.HasSubject {
		pairs = append(etf.Map{{Key: "sub", Value: claims.Subject}}, pairs...)
	}
	if claims.Raw, err = etf.AppendJSON(nil, pairs); err != nil {
		return Claims{}, badToken("its data: " + err.Error())
	}
	return claims, nil
}

// pickSubject sets the subject of a map's claims and returns its pairs without sub.
func pickSubject(claims *Claims, pairs etf.Map) (others etf.Map, err error) {
	found := map[string]any{}
	for _, p := range pairs {
		name, _ := etf.KeyText(p.Key) // a key without a name is an error of the JSON later
		if _, twice := found[name]; twice {
			return nil, badToken("its data: two keys are the same text")
		}
		found[name] = p.Value
		if name != "sub" {
			others = append(others, p)
		}
	}
	for _, name := range []string{"sub", "user_id", "id"} {
		value, there := found[name]
		if claims.Subject, claims.HasSubject = subjectOf(value); claims.HasSubject {
			return others, nil
		}
		if there && name == "sub" {
			return nil, badToken("sub is neither an integer nor a string")
		}
	}
	return others, nil
}

// subjectOf is an integer or a string as the part of a socket id.
func subjectOf(term any) (text string, ok bool) {
	switch term := term.(type) {
	case string:
		return term, true // that it is UTF-8 is checked with the claims
	case int64, *big.Int:
		return etf.KeyText(term)
	}
	return "", false
}
