package nats

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// ConnConfig says how to reach NATS.
type ConnConfig struct {
	URL   string // one or more server URLs, separated by commas
	Name  string // of the connection, as NATS's monitoring shows it
	Creds string // path of a credentials file (JWT and NKEY), or ""
	NKey  string // path of an NKEY seed file, or ""
	CA    string // path of a PEM file with the servers' CA, or ""
	Cert  string // path of the client's certificate, or ""; with Key
	Key   string
	TLS   *tls.Config // instead of CA, Cert and Key, for tests; nil
	Log   *slog.Logger
	// InboxPrefix is where answers to requests that nats.go itself makes come; "" for nats.go's own.
	InboxPrefix string
	// InProcess connects to a server in this process instead of URL.
	InProcess natsgo.InProcessConnProvider
}

// Times of a connection. A dead peer is noticed within pingInterval × (maxPings + 1).
const (
	reconnectWait   = 100 * time.Millisecond
	reconnectJitter = 100 * time.Millisecond
	pingInterval    = 2 * time.Second
	maxPings        = 2
	connectTimeout  = 2 * time.Second
	writeTimeout    = 2 * time.Second // a server that stops reading is noticed so
)

// options are the options that every connection of the product has: it never gives up, and while it is down a publish fails at once rather than
// arriving minutes later.
func (c *ConnConfig) options() ([]natsgo.Option, error) {
	opts := []natsgo.Option{
		natsgo.Name(c.Name), natsgo.MaxReconnects(-1), natsgo.RetryOnFailedConnect(true), natsgo.ReconnectWait(reconnectWait),
		natsgo.ReconnectJitter(reconnectJitter, reconnectJitter), natsgo.PingInterval(pingInterval), natsgo.MaxPingsOutstanding(maxPings),
		natsgo.Timeout(connectTimeout), natsgo.ReconnectBufSize(-1),
		natsgo.FlusherTimeout(writeTimeout), natsgo.IgnoreAuthErrorAbort(),
	}
	if c.Creds != "" {
		opts = append(opts, natsgo.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		opt, err := natsgo.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("NATS_NKEY: %w", err)
		}
		opts = append(opts, opt)
	}
	if c.CA != "" {
		opts = append(opts, natsgo.RootCAs(c.CA))
	}
	if c.Cert != "" || c.Key != "" {
		opts = append(opts, natsgo.ClientCert(c.Cert, c.Key))
	}
	if c.TLS != nil {
		opts = append(opts, natsgo.Secure(c.TLS))
	}
	if c.InboxPrefix != "" {
		opts = append(opts, natsgo.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.InProcess != nil {
		opts = append(opts, natsgo.InProcessServer(c.InProcess))
	}
	return opts, nil
}

// connect opens a connection that waits for NATS if it is not there yet. The error handlers of opts come on top.
func (c *ConnConfig) connect(extra ...natsgo.Option) (*natsgo.Conn, error) {
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	nc, err := natsgo.Connect(c.URL, append(opts, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", c.Redacted(), err)
	}
	return nc, nil
}

// Redacted is the configured URL without passwords and tokens, for logs.
func (c *ConnConfig) Redacted() string {
	parts := strings.Split(c.URL, ",")
	for i, part := range parts {
		parts[i] = redact(strings.TrimSpace(part))
	}
	return strings.Join(parts, ",")
}

// redact takes the secret out of one URL. [url.URL.Redacted] leaves a user without a password, which is a token here.
func redact(one string) string {
	u, err := url.Parse(one)
	if err != nil {
		return "xxxxx" // it may hold anything
	}
	if u.User == nil {
		return one
	}
	if _, has := u.User.Password(); has {
		return u.Redacted()
	}
	u.User = url.User("xxxxx")
	return u.String()
}

// minMajor and minMinor are the oldest NATS server's version that the programs work with: 2.11 brought what presence rests on, the TTL of a single message (NATS ADR-43).
const (
	minMajor = 2
	minMinor = 11
)

// checkVersion says what is wrong with a server's version; nil if it is new enough, or no version that can be read. A pre-release counts as its release.
func checkVersion(version string) error {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, "-") // 2.11-dev
	x, err := strconv.Atoi(major)
	if err != nil {
		return nil
	}
	y, err := strconv.Atoi(minor)
	if err != nil {
		return nil
	}
	if x > minMajor || x == minMajor && y >= minMinor {
		return nil
	}
	return fmt.Errorf("NATS server %s is too old: %d.%d or later is needed", version, minMajor, minMinor)
}
