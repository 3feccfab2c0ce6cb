package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/phxgate/phxgate/authz"
	"github.com/phxgate/phxgate/gateway"
)

// loadJWT checks the JWT settings against each other and CONNECT_AUTH, and reads the key. No error holds a secret.
func (c *config) loadJWT() error {
	var keys, others []string // names of the variables that are set
	var errs []error
	for _, v := range []struct {
		name, value string
		names       *[]string
	}{
		{"JWT_SECRET", c.JWTSecret, &keys}, {"JWT_PUBLIC_KEY_FILE", c.JWTPublicKeyFile, &keys}, {"JWT_JWKS_URL", c.JWTJWKSURL, &keys},
		{"JWT_ISSUER", c.JWTIssuer, &others}, {"JWT_AUDIENCE", c.JWTAudience, &others},
	} {
		if v.value != "" {
			*v.names = append(*v.names, v.name)
		}
	}
	switch {
	case c.ConnectAuth == "allow" || c.ConnectAuth == "phoenix_token":
		for _, name := range append(keys, others...) {
			errs = append(errs, fmt.Errorf("%s: has no effect with CONNECT_AUTH=%s", name, c.ConnectAuth))
		}
	case len(keys) > 1:
		errs = append(errs, fmt.Errorf("%s: set one of them", strings.Join(keys, " and ")))
	case len(keys) == 0 && c.ConnectAuth == "jwt":
		errs = append(errs, errors.New("CONNECT_AUTH: jwt needs one of JWT_SECRET, JWT_PUBLIC_KEY_FILE, JWT_JWKS_URL"))
	case len(keys) == 0:
		for _, name := range others {
			errs = append(errs, fmt.Errorf("%s: has no effect without one of JWT_SECRET, JWT_PUBLIC_KEY_FILE, JWT_JWKS_URL", name))
		}
	}
	var err error
	if c.JWTSecret != "" {
		if c.jwtKeys, err = authz.SecretKey(c.JWTSecret); err != nil {
			errs = append(errs, fmt.Errorf("JWT_SECRET: %w", err))
		}
	}
	if c.JWTPublicKeyFile != "" {
		if c.jwtKeys, err = readPublicKey(c.JWTPublicKeyFile); err != nil {
			errs = append(errs, fmt.Errorf("JWT_PUBLIC_KEY_FILE: %w", err))
		}
	}
	return errors.Join(append(errs, checkJWKSURL(c.JWTJWKSURL))...)
}

func readPublicKey(file string) (authz.Keys, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := authz.ParsePublicKey(pem)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func checkJWKSURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("JWT_JWKS_URL: want https://host/path or http://host/path") // the URL may hold a password
	}
	return nil
}

// tokenPool is what verifies tokens, nil if no key is set. It warns of keys that are weak.
func (c *config) tokenPool(log *slog.Logger) *authz.TokenPool {
	if c.phoenixTokens != nil {
		return authz.NewTokenPool(c.phoenixTokens)
	}
	keys := c.jwtKeys
	switch {
	case c.JWTJWKSURL != "":
		keys = authz.NewKeySet(c.JWTJWKSURL, log)
		if u, err := url.Parse(c.JWTJWKSURL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			log.Warn("JWT_JWKS_URL is http: whoever is on the way to it can choose the keys")
		}
	case keys == nil:
		return nil
	case c.JWTSecret != "" && len(c.JWTSecret) < authz.MinSecret:
		log.Warn("JWT_SECRET is short: it can be guessed from a token", "bytes", len(c.JWTSecret), "want", authz.MinSecret)
	}
	return authz.NewTokenPool(&authz.Verifier{Keys: keys, Issuer: c.JWTIssuer, Audience: c.JWTAudience})
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tokenAuthorizer verifies a connect's token: CONNECT_AUTH=jwt or phoenix_token, or with asks a key of either beside CONNECT_AUTH=authz. Joins go to the authorizer
// behind it.
type tokenAuthorizer struct {
	gateway.Authorizer
	tokens *authz.TokenPool
	asks   bool // the authorizer decides a connect whose token is good
}

var _ gateway.Authorizer = (*tokenAuthorizer)(nil)

// AuthorizeConnect implements [gateway.Authorizer].
func (a *tokenAuthorizer) AuthorizeConnect(r *gateway.ConnectRequest, done func(*gateway.ConnectDecision, error)) {
	if !r.HasToken {
		done(&gateway.ConnectDecision{Reason: "no token"}, nil)
		return
	}
	a.tokens.Verify(r.AuthToken, func(claims authz.Claims, err error) {
		switch {
		case errors.Is(err, authz.ErrKeysUnavailable):
			done(nil, err)
		case err != nil:
			done(&gateway.ConnectDecision{Reason: err.Error()}, nil)
		case a.asks:
			r.Claims = claims.Raw
			a.Authorizer.AuthorizeConnect(r, func(d *gateway.ConnectDecision, err error) {
				// The token's end is the latest: an answer can let the socket end earlier.
				if err == nil && !claims.ExpiresAt.IsZero() && (d.ExpiresAt.IsZero() || claims.ExpiresAt.Before(d.ExpiresAt)) {
					d.ExpiresAt = claims.ExpiresAt
				}
				done(d, err)
			})
		default:
			done(connectOf(claims), nil)
		}
	})
}

// connectOf is what a good token gives a socket: user_socket:<sub>, as Phoenix's generator names it, and the claims as assigns.claims.
func connectOf(claims authz.Claims) *gateway.ConnectDecision {
	d := &gateway.ConnectDecision{Allow: true, ExpiresAt: claims.ExpiresAt}
	if claims.HasSubject {
		if d.ID = "user_socket:" + claims.Subject; len(d.ID) > authz.MaxSocketID {
			return &gateway.ConnectDecision{Reason: authz.ErrSocketID.Error()}
		}
	}
	assigns := append([]byte(`{"claims":`), claims.Raw...)
	var err error
	if d.Assigns, err = gateway.MergeAssigns(nil, append(json.RawMessage(assigns), '}')); err != nil {
		return &gateway.ConnectDecision{Reason: err.Error()}
	}
	return d
}
