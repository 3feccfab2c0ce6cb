package authz

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// checkClaims reads the claims of a token whose signature was verified (RFC 7519 §4.1).
func (v *Verifier) checkClaims(payload []byte, now time.Time) (Claims, error) {
	if phx.CheckPayload(payload) != nil {
		return Claims{}, badToken("its claims are not a JSON object")
	}
	var sub, iss, aud, exp, nbf, iat []byte
	err := pickFields(payload, map[string]*[]byte{"sub": &sub, "iss": &iss, "aud": &aud, "exp": &exp, "nbf": &nbf, "iat": &iat})
	if err != nil {
		return Claims{}, badToken("a claim stands there twice")
	}
	claims := Claims{Raw: payload}
	if claims.ExpiresAt, err = checkTimes(exp, nbf, iat, now); err != nil {
		return Claims{}, err
	}
	if v.Issuer != "" {
		if issuer, err := parseString(iss); err != nil || issuer != v.Issuer {
			return Claims{}, badToken("iss is another")
		}
	}
	if v.Audience != "" && !hasAudience(aud, v.Audience) {
		return Claims{}, badToken("aud is another")
	}
	if sub != nil {
		claims.HasSubject = true
		if claims.Subject, err = parseString(sub); err != nil {
			return Claims{}, badToken("sub is not a string")
		}
	}
	return claims, nil
}

// checkTimes returns until when a token may be used; see [Claims].
func checkTimes(exp, nbf, iat []byte, now time.Time) (time.Time, error) {
	if exp == nil {
		return time.Time{}, badToken("exp is missing")
	}
	expires, ok := parseNumericDate(exp)
	if !ok {
		return time.Time{}, badToken("exp is not a time in seconds")
	}
	if !now.Before(expires) {
		if expires = expires.Add(tokenLeeway); !now.Before(expires) {
			return time.Time{}, badToken("expired")
		}
	}
	for _, begin := range []struct {
		name string
		raw  []byte
	}{{"nbf", nbf}, {"iat", iat}} {
		if begin.raw == nil {
			continue
		}
		from, ok := parseNumericDate(begin.raw)
		switch {
		case !ok:
			return time.Time{}, badToken(begin.name + " is not a time in seconds")
		case from.After(now.Add(tokenLeeway)):
			return time.Time{}, badToken(begin.name + " is in the future")
		}
	}
	return expires, nil
}

// parseNumericDate reads a NumericDate (RFC 7519 §2): seconds since 1970, perhaps with a fraction. A time before 1970 or beyond the year 9999 is none: it is
// in all likelihood in milliseconds, and would keep for ever what was meant to end today.
func parseNumericDate(raw []byte) (time.Time, bool) {
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxUnixSeconds {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true
}

// hasAudience reports whether aud, a string or an array of strings (RFC 7519 §4.1.3), holds want. An array with anything else in it holds nothing.
func hasAudience(aud []byte, want string) bool {
	if one, err := parseString(aud); err == nil {
		return one == want
	}
	var raw []json.RawMessage
	if len(aud) == 0 || aud[0] != '[' || json.Unmarshal(aud, &raw) != nil {
		return false
	}
	list := make([]string, len(raw))
	for i := range raw {
		var err error
		if list[i], err = parseString(raw[i]); err != nil {
			return false
		}
	}
	return slices.Contains(list, want)
}
