package contracttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
)

func TestJWTSettings(t *testing.T) {
	t.Parallel()
	rules := writeFile(t, "channels.yaml", jwtRules)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := publicKeyFile(t, &key.PublicKey)
	const secret = "JWT_SECRET=hunter2hunter2"
	const jwks = "JWT_JWKS_URL=http://user:hunter2@127.0.0.1:1/"
	for _, test := range []struct {
		name     string
		settings []string
		named    []string // variables in the message; nil: no mistake
	}{
		{"secret", []string{"CONNECT_AUTH=jwt", secret}, nil},
		{"file", []string{"CONNECT_AUTH=jwt", "JWT_PUBLIC_KEY_FILE=" + file, "JWT_ISSUER=i", "JWT_AUDIENCE=a"}, nil},
		{"URL", []string{"CONNECT_AUTH=jwt", jwks}, nil},
		{"beside authz", []string{"CONNECT_AUTH=authz", secret, "JWT_ISSUER=i"}, nil},
		{"authz alone", []string{"CONNECT_AUTH=authz"}, nil},
		{"no key", []string{"CONNECT_AUTH=jwt"}, []string{"CONNECT_AUTH", "JWT_SECRET", "JWT_PUBLIC_KEY_FILE", "JWT_JWKS_URL"}},
		{"two keys", []string{"CONNECT_AUTH=jwt", secret, jwks}, []string{"JWT_SECRET", "JWT_JWKS_URL"}},
		{"two keys beside authz", []string{"CONNECT_AUTH=authz", secret, "JWT_PUBLIC_KEY_FILE=" + file}, []string{"JWT_SECRET", "JWT_PUBLIC_KEY_FILE"}},
		{"allow with a secret", []string{"CONNECT_AUTH=allow", secret}, []string{"JWT_SECRET", "CONNECT_AUTH"}},
		{"allow with an issuer", []string{"CONNECT_AUTH=allow", "JWT_ISSUER=i"}, []string{"JWT_ISSUER"}},
		{"an issuer and no key", []string{"CONNECT_AUTH=authz", "JWT_ISSUER=i"}, []string{"JWT_ISSUER"}},
		{"no file", []string{"CONNECT_AUTH=jwt", "JWT_PUBLIC_KEY_FILE=/nowhere/key.pem"}, []string{"JWT_PUBLIC_KEY_FILE"}},
		{"not a key", []string{"CONNECT_AUTH=jwt", "JWT_PUBLIC_KEY_FILE=" + rules}, []string{"JWT_PUBLIC_KEY_FILE"}},
		{"not http", []string{"CONNECT_AUTH=jwt", "JWT_JWKS_URL=file:///hunter2"}, []string{"JWT_JWKS_URL"}},
		{"not a URL", []string{"CONNECT_AUTH=jwt", "JWT_JWKS_URL=http://hunter2@/\x7f"}, []string{"JWT_JWKS_URL"}},
	} {
		env := append([]string{"CHANNELS_FILE=" + rules}, test.settings...)
		status, stdout, stderr := runGateway(t, []string{"check-config"}, env...)
		if (status == 0) != (test.named == nil) || strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%s: status %d, %q %q", test.name, status, stdout, stderr)
		}
		for _, name := range test.named {
			if !strings.Contains(stdout+stderr, name) {
				t.Errorf("%s: %s is not named: %q %q", test.name, name, stdout, stderr)
			}
		}
	}
	_, help, _ := runGateway(t, []string{"--help"})
	for _, name := range []string{"JWT_SECRET", "JWT_PUBLIC_KEY_FILE", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE"} {
		if !strings.Contains(help, "  "+name+" ") {
			t.Errorf("%s is not listed", name)
		}
	}
	g, _ := setup(t, jwtRules, "CONNECT_AUTH=jwt", secret)
	if strings.Count(g.stderr.String(), "JWT_SECRET is short") != 1 || strings.Contains(g.stderr.String(), "hunter2") {
		t.Errorf("standard error:\n%s", g.stderr)
	}
	if status := tokenStatus(t, g, signJWT(t, "hunter2hunter2", `{"alg":"HS256"}`, `{"exp":4000000000}`)); status != 101 {
		t.Errorf("short secret: status %d", status)
	}
}
