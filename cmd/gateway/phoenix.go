package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/phxgate/phxgate/authz"
)

// tokenAge is PHX_TOKEN_MAX_AGE.
type tokenAge struct{ authz.MaxAge }

// UnmarshalText reads whole seconds as in Elixir, a duration with a unit of 1ms or more, or infinity.
func (a *tokenAge) UnmarshalText(b []byte) error {
	text := string(b)
	a.MaxAge = authz.MaxAge{Set: true, Infinity: text == "infinity"}
	if a.Infinity {
		return nil
	}
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		text += "s"
	}
	var err error
	if a.Age, err = time.ParseDuration(text); err != nil || a.Age < time.Millisecond {
		return fmt.Errorf("%q is neither a number of seconds, such as 86400, nor a duration with a unit, such as 24h, nor infinity", b)
	}
	return nil
}

// loadPhoenixToken checks the settings about tokens of Phoenix against each other, CONNECT_AUTH and the JWT settings, and derives the key. No error holds a
// secret.
func (c *config) loadPhoenixToken() error {
	var given []string // names of the variables that are set
	for _, v := range []struct {
		name  string
		given bool
	}{
		{"PHX_SECRET_KEY_BASE", c.PhxSecretKeyBase != ""}, {"PHX_SECRET_KEY_BASE_FILE", c.PhxSecretFile != ""}, {"PHX_TOKEN_SALT", c.PhxTokenSalt != ""}, {"PHX_TOKEN_MAX_AGE", c.PhxTokenMaxAge.Set},
		{"PHX_TOKEN_KEY_ITERATIONS", c.PhxKeyIterations != 0}, {"PHX_TOKEN_KEY_LENGTH", c.PhxKeyLength != 0}, {"PHX_TOKEN_KEY_DIGEST", c.PhxKeyDigest != ""},
	} {
		if v.given {
			given = append(given, v.name)
		}
	}
	names := strings.Join(given, ", ")
	switch {
	case len(given) == 0 && c.ConnectAuth != "phoenix_token":
		return nil
	case c.ConnectAuth == "allow" || c.ConnectAuth == "jwt":
		return fmt.Errorf("%s: no effect with CONNECT_AUTH=%s", names, c.ConnectAuth)
	case c.ConnectAuth == "authz" && c.JWTSecret+c.JWTPublicKeyFile+c.JWTJWKSURL != "":
		return fmt.Errorf("%s: tokens are either Phoenix's or signed with a key of JWT_SECRET, JWT_PUBLIC_KEY_FILE, JWT_JWKS_URL: set one", names)
	case c.PhxSecretKeyBase != "" && c.PhxSecretFile != "":
		return errors.New("PHX_SECRET_KEY_BASE and PHX_SECRET_KEY_BASE_FILE: set one of them")
	case c.PhxSecretKeyBase+c.PhxSecretFile == "" && c.PhxTokenSalt == "" && c.ConnectAuth == "phoenix_token":
		return errors.New("CONNECT_AUTH: phoenix_token needs PHX_SECRET_KEY_BASE, or PHX_SECRET_KEY_BASE_FILE, and PHX_TOKEN_SALT")
	case c.PhxSecretKeyBase+c.PhxSecretFile == "":
		return fmt.Errorf("PHX_SECRET_KEY_BASE: not set, and %s: nothing could be verified", names)
	case c.PhxTokenSalt == "":
		return errors.New("PHX_TOKEN_SALT: not set beside the secret: want the salt that Phoenix.Token.sign is called with, such as user socket")
	}
	name, secret := "PHX_SECRET_KEY_BASE", c.PhxSecretKeyBase
	if c.PhxSecretFile != "" {
		text, err := os.ReadFile(c.PhxSecretFile)
		if err != nil {
			return fmt.Errorf("PHX_SECRET_KEY_BASE_FILE: %w", err)
		}
		name, secret = "PHX_SECRET_KEY_BASE_FILE", strings.TrimRight(string(text), "\r\n")
	}
	var err error
	c.phoenixTokens, err = authz.NewPhoenixVerifier(authz.PhoenixKey{
		KeyBase: secret, Salt: c.PhxTokenSalt, Iterations: cmp.Or(int(c.PhxKeyIterations), 1000), Length: cmp.Or(int(c.PhxKeyLength), 32),
		Digest: cmp.Or(c.PhxKeyDigest, "sha256"),
	}, c.PhxTokenMaxAge.MaxAge)
	var wrong *authz.PhoenixKeyError
	if !errors.As(err, &wrong) {
		return err
	}
	if wrong.Option == "secret_key_base" {
		return fmt.Errorf("%s: %s", name, wrong.Reason)
	}
	return fmt.Errorf("PHX_TOKEN_%s: %s", strings.ToUpper(wrong.Option), wrong.Reason)
}
