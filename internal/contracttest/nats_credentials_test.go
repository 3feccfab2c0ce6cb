package contracttest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// credentials are one way to log in, and two servers' configurations.
type credentials struct {
	user     string   // for the URL
	settings []string // of the gateway
	secrets  []string // that no log may hold
	knows    string   // configuration of a server that accepts them
	refuses  string   // and of one that does not
}

// TestNATSCredentials: with credentials that the server refuses, a gateway
// runs, not ready, and says why; once they are accepted it is ready.
func TestNATSCredentials(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]func(*testing.T) credentials{
		"user and password": passwordCredentials, "token": tokenCredentials, "nkey": nkeyCredentials, "creds": jwtCredentials,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := made(t)
			server := startConfigured(t, c.refuses)
			g := launchGateway(t, server.url(c.user), everything, append(c.settings, "READY_GRACE=100ms", "LOG_LEVEL=debug")...)
			wantUnready(g, "authorization violation")
			server.restart(c.knows)
			g.waitForReady(http.StatusOK)
			g.dial(t).Join("room:1", struct{}{})

			server.restart(c.refuses)
			wantUnready(g, "away for 1s: nats: authorization violation", "away for 0s: nats: authorization violation")
			server.restart(c.knows)
			g.waitForReady(http.StatusOK)
			g.dial(t).Join("room:2", struct{}{})

			log := g.stderr.String()
			for _, secret := range c.secrets {
				if strings.Contains(log, secret) {
					t.Errorf("the log holds the secret %s", secret)
				}
			}
			if n := strings.Count(strings.ToLower(log), "authorization violation"); n == 0 || n > 8 {
				t.Errorf("the log names the reason %d times, want a few", n)
			}
		})
	}
}

func passwordCredentials(*testing.T) credentials {
	const config = `authorization: {users: [{user: gateway, password: %q}]}`
	return credentials{user: "gateway:Sup3rS3cret", secrets: []string{"Sup3rS3cret"},
		knows: fmt.Sprintf(config, "Sup3rS3cret"), refuses: fmt.Sprintf(config, "another")}
}

func tokenCredentials(*testing.T) credentials {
	return credentials{user: "T0kenOfTheFleet", secrets: []string{"T0kenOfTheFleet"},
		knows: `authorization: {token: T0kenOfTheFleet}`, refuses: `authorization: {token: another}`}
}

func nkeyCredentials(t *testing.T) credentials {
	const config = `authorization: {users: [{nkey: %s}]}`
	seed, public := newKey(t, nkeys.PrefixByteUser)
	_, other := newKey(t, nkeys.PrefixByteUser)
	return credentials{settings: []string{"NATS_NKEY=" + writeFile(t, "gateway.nk", seed)}, secrets: []string{seed},
		knows: fmt.Sprintf(config, public), refuses: fmt.Sprintf(config, other)}
}

// jwtCredentials are those of a server with an operator and a memory resolver.
func jwtCredentials(t *testing.T) credentials {
	t.Helper()
	operatorSeed, operator := newKey(t, nkeys.PrefixByteOperator)
	accountSeed, account := newKey(t, nkeys.PrefixByteAccount)
	_, other := newKey(t, nkeys.PrefixByteAccount)
	userSeed, user := newKey(t, nkeys.PrefixByteUser)
	config := func(account string) string {
		return fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: {%s: %s}\n", encodeClaims(t, jwt.NewOperatorClaims(operator), operatorSeed),
			account, encodeClaims(t, jwt.NewAccountClaims(account), operatorSeed))
	}
	token := encodeClaims(t, jwt.NewUserClaims(user), accountSeed)
	creds, err := jwt.FormatUserConfig(token, []byte(userSeed))
	if err != nil {
		t.Fatal(err)
	}
	return credentials{settings: []string{"NATS_CREDS=" + writeFile(t, "gateway.creds", string(creds))}, secrets: []string{userSeed, token},
		knows: config(account), refuses: config(other)}
}

func encodeClaims(t *testing.T, claims jwt.Claims, seed string) string {
	t.Helper()
	key, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	token, err := claims.Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func newKey(t *testing.T, kind nkeys.PrefixByte) (seed, public string) {
	t.Helper()
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return string(raw), public
}

// TestNATSCredentialsFileChanges: a credentials file is read anew for every
// attempt, so a new one needs no restart.
func TestNATSCredentialsFileChanges(t *testing.T) {
	t.Parallel()
	c := jwtCredentials(t)
	_, path, _ := strings.Cut(c.settings[0], "=")
	file := writeFile(t, "empty.creds", "")
	server := startConfigured(t, c.knows)
	g := launchGateway(t, server.url(""), everything, "NATS_CREDS="+file)
	wantUnready(g, "authorization violation")
	copyFile(t, path, file)
	g.waitForReady(http.StatusOK)
}
