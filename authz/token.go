package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// tokenLeeway is how far the clocks of an issuer and a gateway may be apart; it holds for exp, nbf and iat.
const tokenLeeway = 30 * time.Second

var (
	// ErrBadToken is wrapped by every error about a token that must not be let in. The text says why and holds nothing of the token. To the
	// client it is 403.
	ErrBadToken = errors.New("bad token")
	// ErrKeysUnavailable says that a token can be neither accepted nor refused now: no keys were fetched yet, or too many tokens wait. To the
	// client it is 503.
	ErrKeysUnavailable = errors.New("tokens cannot be verified now")

	// errUnknownKid is the bad token that may turn out good when the keys are fetched again.
	errUnknownKid = fmt.Errorf("%w: no key has its kid", ErrBadToken)
)

// badToken is ErrBadToken with the reason.
func badToken(reason string) error { return fmt.Errorf("%w: %s", ErrBadToken, reason) }

// Keys are what tokens are verified with: [SecretKey], [ParsePublicKey] or a [KeySet].
type Keys interface {
	// algorithms are those that any key may have; a token of another is refused unread.
	algorithms() []jose.SignatureAlgorithm
	// find returns the keys that a token with this header may be signed with, perhaps none. known is false if fetching the keys again could
	// bring a better answer. An error wraps ErrKeysUnavailable.
	find(kid string, algorithm jose.SignatureAlgorithm) (candidates []key, known bool, err error)
}

// Verifier checks tokens: JWS in compact form (RFC 7515 §7.1) whose payload is a claims object (RFC 7519). Its methods may be called from any
// goroutine.
type Verifier struct {
	Keys     Keys
	Issuer   string // that iss must equal; "": any, or none
	Audience string // that aud must hold; "": any, or none
}

// Claims are what a verified token says.
type Claims struct {
	Subject    string          // sub, where HasSubject
	HasSubject bool            // false: nobody in particular
	Raw        json.RawMessage // the claims object as it came, a checked JSON object
	// ExpiresAt is when what the token allowed must end, zero for never: a JWT's exp or, for one that is let in within the leeway after that, the leeway's
	// end; the last moment of a Phoenix token's max_age.
	ExpiresAt time.Time
}

// Verify returns the claims of a token that is signed by one of the keys and holds at now. The algorithm is the key's own: a token whose header names
// another is refused (RFC 8725 §3.1), as is one whose header says crit, since no extension is understood here (RFC 7515 §4.1.11). An error wraps
// ErrBadToken or ErrKeysUnavailable.
func (v *Verifier) Verify(token string, now time.Time) (Claims, error) {
	// What go-jose says of an error may hold parts of the token, hence the texts are ours.
	signed, err := jose.ParseSignedCompact(token, v.Keys.algorithms())
	if err != nil {
		var unexpected *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &unexpected) {
			return Claims{}, badToken("its algorithm is none of the keys'")
		}
		return Claims{}, badToken("not a signed JWT")
	}
	header := signed.Signatures[0].Protected
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return Claims{}, badToken("it has a critical header")
	}
	keys, known, err := v.Keys.find(header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if err != nil {
		return Claims{}, err
	}
	for _, k := range keys {
		if payload, err := signed.Verify(k.public); err == nil {
			return v.checkClaims(payload, now)
		}
	}
	switch {
	case !known:
		return Claims{}, errUnknownKid
	case len(keys) == 0:
		return Claims{}, badToken("its algorithm is not its key's")
	}
	return Claims{}, badToken("its signature is not of its key")
}
