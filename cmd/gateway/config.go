package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/phxgate/phxgate/authz"
	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/settings"
)

// config is the gateway's settings.
type config struct {
	Listen     string `env:"LISTEN" envDefault:":4000" help:"clients: <SOCKET_PATH>/websocket; any other path is 404"`
	SocketPath string `env:"SOCKET_PATH" envDefault:"/socket" help:"mount point, as in Phoenix's socket \"/socket\""`
	TLSCert    string `env:"TLS_CERT_FILE" help:"TLS on LISTEN, with TLS_KEY_FILE; reread when the files change" none:"none: plain"`
	TLSKey     string `env:"TLS_KEY_FILE" help:"key of TLS_CERT_FILE" none:"none: plain"`

	AdminListen string `env:"ADMIN_LISTEN" envDefault:":9090" help:"/healthz, /readyz, /metrics, /debug/pprof/; never the clients' port"`

	APIToken     string `env:"API_TOKEN" help:"opens the HTTP API on ADMIN_LISTEN, /api/, to whoever sends this bearer token; at least 16 printable ASCII characters" none:"none: no API"`
	APITokenFile string `env:"API_TOKEN_FILE" help:"the same, with a token a line; reread when it changes" none:"none: no API"`

	settings.NATS

	ChannelsFile  string          `env:"CHANNELS_FILE" help:"channel rules, YAML; reread on SIGHUP" none:"none: refuse to start (gateway dev brings its own)"`
	ConnectAuth   string          `env:"CONNECT_AUTH" envDefault:"authz" help:"authz (ask <prefix>.authz.connect), jwt or phoenix_token (verify the token here) or allow"`
	AuthzHeaders  settings.Names  `env:"AUTHZ_HEADERS" envDefault:"user-agent,origin" help:"request headers that the connect request carries; add cookie for session cookies"`
	CheckOrigin   origin          `env:"CHECK_ORIGIN" envDefault:"same host" help:"same host, false, or a list such as https://a.example,//*.b.example"`
	Proxies       settings.CIDRs  `env:"TRUSTED_PROXIES" help:"CIDRs whose X-Forwarded-For is believed, and PROXY header with PROXY_PROTOCOL" none:"none"`
	ProxyProtocol settings.Switch `env:"PROXY_PROTOCOL" envDefault:"false" help:"true: connections from TRUSTED_PROXIES begin with a PROXY header, v1 or v2, before TLS; without one they are closed"`

	JWTSecret        string `env:"JWT_SECRET" help:"tokens are signed with HS256 and this secret" none:"none"`
	JWTPublicKeyFile string `env:"JWT_PUBLIC_KEY_FILE" help:"tokens are signed with the private key of this public key, PEM: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)" none:"none"`
	JWTJWKSURL       string `env:"JWT_JWKS_URL" help:"tokens are signed with a key of this JWK Set; fetched again every 10 min and for an unknown kid" none:"none"`
	JWTIssuer        string `env:"JWT_ISSUER" help:"iss must equal it" none:"none"`
	JWTAudience      string `env:"JWT_AUDIENCE" help:"aud must hold it" none:"none"`

	PhxSecretKeyBase string         `env:"PHX_SECRET_KEY_BASE" help:"tokens are made by Phoenix.Token.sign with this secret_key_base, of at least 20 bytes" none:"none"`
	PhxSecretFile    string         `env:"PHX_SECRET_KEY_BASE_FILE" help:"file that holds it, in PHX_SECRET_KEY_BASE's place; read at the start, without the newline at its end" none:"none"`
	PhxTokenSalt     string         `env:"PHX_TOKEN_SALT" help:"and this salt" none:"none"`
	PhxTokenMaxAge   tokenAge       `env:"PHX_TOKEN_MAX_AGE" help:"how old they may be, as 1209600, 336h or infinity, whatever they say themselves" none:"each token's own, 86400 s unless it was signed with another max_age"`
	PhxKeyIterations settings.Count `env:"PHX_TOKEN_KEY_ITERATIONS" help:"they are signed with this option key_iterations" none:"1000"`
	PhxKeyLength     settings.Count `env:"PHX_TOKEN_KEY_LENGTH" help:"they are signed with this option key_length" none:"32"`
	PhxKeyDigest     string         `env:"PHX_TOKEN_KEY_DIGEST" help:"they are signed with this option key_digest: sha256, sha384 or sha512" none:"sha256"`

	MaxConnections       settings.Count `env:"MAX_CONNECTIONS" help:"more: held for up to 2 s, then 503 before the upgrade" none:"what the descriptor limit allows"`
	MaxFrameBytes        settings.Count `env:"MAX_FRAME_BYTES" envDefault:"1048576" shown:"1 MiB" help:"a message larger, fragments together, is closed with 1009"`
	InboundBytesTotal    settings.Count `env:"INBOUND_BYTES_TOTAL" envDefault:"268435456" shown:"256 MiB" help:"of messages that are not complete yet; beyond it the largest are closed with 1009"`
	InboxBytes           settings.Count `env:"NATS_INBOX_BYTES" envDefault:"67108864" shown:"64 MiB" help:"of messages from NATS that may wait to be handled; beyond it they are dropped, and every topic has a gap"`
	Compress             bool           `env:"COMPRESS" envDefault:"false" help:"permessage-deflate with clients that offer it"`
	OutboundBytes        settings.Count `env:"OUTBOUND_BYTES" envDefault:"1048576" shown:"1 MiB" help:"that may wait for one socket; beyond it the socket is aborted, unless a rule's slow says otherwise"`
	OutboundBytesTotal   settings.Count `env:"OUTBOUND_BYTES_TOTAL" envDefault:"268435456" shown:"256 MiB" help:"that may wait for all sockets, what they share counted once; beyond it those with the most waiting are aborted"`
	MaxChannelsPerSocket settings.Count `env:"MAX_CHANNELS_PER_SOCKET" envDefault:"100" help:"joins that are under way count"`

	RechecksPerSecond        settings.Count `env:"AUTHZ_RECHECKS_PER_SECOND" envDefault:"1000" help:"joined channels that phx.authz.recheck makes the gateway ask about anew; the rest waits"`
	UpgradesPerSecond        settings.Count `env:"GATEWAY_UPGRADES_PER_SECOND" help:"connects let through in a second; more are held for up to 2 s, then refused with 503 and Retry-After" none:"none: no limit"`
	AddressUpgradesPerSecond settings.Count `env:"ADDRESS_UPGRADES_PER_SECOND" help:"the same from one client address (TRUSTED_PROXIES counts; IPv6: one /64)" none:"none: no limit"`
	AddressConnections       settings.Count `env:"ADDRESS_CONNECTIONS" help:"connections of one client address; more are held and refused as above" none:"none: no limit"`
	JoinsPerSecond           settings.Count `env:"GATEWAY_JOINS_PER_SECOND" help:"joins decided in a second; more wait for up to 5 s, beyond which they are refused as overloaded" none:"none: no limit"`
	AddressJoinsPerSecond    settings.Count `env:"ADDRESS_JOINS_PER_SECOND" help:"the same from one client address; refused as rate limited" none:"none: no limit"`
	RateLimits

	IdleTimeout  settings.Duration `env:"IDLE_TIMEOUT" envDefault:"60s" help:"no frame from the client for so long: closed"`
	AuthzTimeout settings.Duration `env:"AUTHZ_TIMEOUT" envDefault:"5s" help:"for connect and join"`
	DrainTimeout settings.Duration `env:"DRAIN_TIMEOUT" envDefault:"30s" help:"how long SIGTERM may take"`
	DrainDelay   settings.Pause    `env:"DRAIN_DELAY" envDefault:"0s" help:"how long after SIGTERM, not ready any more, new sockets are still taken, for load balancers that hear of it late"`
	DrainSpread  settings.Duration `env:"DRAIN_SPREAD" help:"over how long sockets are closed then, evenly and in random order; longer where DRAIN_RATE asks for it, shorter for a few" none:"half of DRAIN_TIMEOUT"`
	DrainRate    settings.Count    `env:"DRAIN_RATE" envDefault:"500" help:"sockets closed in a second at most, in a drain, for their age or to shed them"`
	MaxAge       settings.Duration `env:"MAX_CONNECTION_AGE" help:"a socket becomes at most so old; the last quarter is jitter" none:"none"`
	Shed         settings.Percent  `env:"SHED_TOLERANCE" help:"by how much a gateway may be above its fleet's mean number of sockets before it sheds them, such as 20%" none:"none: never"`
	ReadyGrace   settings.Duration `env:"READY_GRACE" envDefault:"5s" help:"a NATS hiccup shorter than this does not make a fleet unready"`
	Linger       settings.Pause    `env:"PRESENCE_LINGER" envDefault:"10s" help:"how long a presence stays whose channel the gateway ended for no fault of its user; 0s: no linger"`
	GapSpread    settings.Duration `env:"GAP_SPREAD" envDefault:"3s" help:"over how long channels are told to rejoin after a gap"`

	TraceSampleRatio settings.Ratio `env:"TRACE_SAMPLE_RATIO" envDefault:"1" help:"of the traces that begin here, the share that backends are told to record"`

	LogLevel  settings.LogLevel `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	GatewayID string            `env:"GATEWAY_ID" help:"name of this gateway in channel ids; must be new for each start" none:"host name and a random part"`

	rules         *rules.Set
	jwtKeys       authz.Keys             // of JWT_SECRET or JWT_PUBLIC_KEY_FILE; else nil
	phoenixTokens *authz.PhoenixVerifier // of PHX_SECRET_KEY_BASE; else nil
}

// origin is CHECK_ORIGIN.
type origin struct{ gateway.OriginCheck }

func (o *origin) UnmarshalText(b []byte) (err error) {
	o.OriginCheck, err = gateway.ParseOriginCheck(string(b))
	return err
}

// load reads and checks the settings and the rules. All mistakes are in the error, a line each, with the variable's name.
func load(environ map[string]string) (*config, error) {
	c := &config{}
	errs := []error{settings.Parse(c, environ)}
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, settings.CheckAddress("LISTEN", c.Listen), settings.CheckAddress("ADMIN_LISTEN", c.AdminListen),
		settings.CheckPair("TLS_CERT_FILE", c.TLSCert, "TLS_KEY_FILE", c.TLSKey), c.NATS.Check(), c.RateLimits.check())
	bad(!strings.HasPrefix(c.SocketPath, "/") || len(c.SocketPath) > 1 && strings.HasSuffix(c.SocketPath, "/") || strings.ContainsAny(c.SocketPath, " ?#%"),
		"SOCKET_PATH: %q: want a path that begins with / and does not end with it", c.SocketPath)
	bad(c.GatewayID != "" && !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(c.GatewayID), "GATEWAY_ID: %q: want at most 64 characters A-Z a-z 0-9 - _", c.GatewayID)
	bad(!slices.Contains([]string{"authz", "jwt", "phoenix_token", "allow"}, c.ConnectAuth), "CONNECT_AUTH: %q is none of authz, jwt, phoenix_token, allow", c.ConnectAuth)
	bad(bool(c.ProxyProtocol) && len(c.Proxies) == 0, "PROXY_PROTOCOL: true, and TRUSTED_PROXIES: not set: nobody's PROXY header would be believed")
	bad(time.Duration(c.DrainDelay) >= time.Duration(c.DrainTimeout), "DRAIN_DELAY: %v is not less than DRAIN_TIMEOUT, %v", time.Duration(c.DrainDelay), time.Duration(c.DrainTimeout))
	bad(c.DrainSpread > c.DrainTimeout, "DRAIN_SPREAD: %v is more than DRAIN_TIMEOUT, %v", time.Duration(c.DrainSpread), time.Duration(c.DrainTimeout))
	_, err := c.apiTokens(slog.New(slog.DiscardHandler))
	errs = append(errs, c.loadJWT(), c.loadPhoenixToken(), err)
	if c.ChannelsFile == "" {
		errs = append(errs, errors.New("CHANNELS_FILE: not set: a gateway needs channel rules (gateway dev brings its own)"))
	} else if c.rules, err = rules.Load(c.ChannelsFile); err != nil {
		errs = append(errs, fmt.Errorf("CHANNELS_FILE: %w", err))
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = settings.Count(maxConnections())
	}
	if c.DrainSpread == 0 {
		c.DrainSpread = c.DrainTimeout / 2
	}
	return c, errors.Join(errs...)
}

// maxConnections is what the descriptor limit allows, some kept for NATS, files and the admin port.
func maxConnections() int {
	const own = 128 + gateway.ConnectionSlack
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<30 {
		return 1 << 30
	}
	return max(int(limit.Cur)-own, 1)
}

// gatewayID makes an id that is new for each start and that an operator recognizes.
func gatewayID(random string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "gateway"
	}
	host = regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(host, "-")
	if len(host) > 40 {
		host = host[len(host)-40:]
	}
	return host + "-" + random
}

// gatewayConfig is what the gateway package needs of the settings.
func (c *config) gatewayConfig() gateway.Config {
	g := gateway.DefaultConfig()
	g.ID, g.SocketPath, g.Rules = c.GatewayID, strings.TrimSuffix(c.SocketPath, "/"), c.rules
	g.CheckOrigin, g.TrustedProxies, g.ProxyProtocol, g.AuthzHeaders = c.CheckOrigin.OriginCheck, c.Proxies, bool(c.ProxyProtocol), c.AuthzHeaders
	g.AuthzTimeout, g.IdleTimeout, g.GapSpread = time.Duration(c.AuthzTimeout), time.Duration(c.IdleTimeout), time.Duration(c.GapSpread)
	g.MaxConnections, g.MaxFrameBytes, g.InboundBytesTotal = int(c.MaxConnections), int(c.MaxFrameBytes), int(c.InboundBytesTotal)
	g.Compress = c.Compress
	g.OutboundBytesTotal = int(c.OutboundBytesTotal)
	g.UpgradesPerSecond, g.AddressUpgradesPerSecond, g.AddressConnections = int(c.UpgradesPerSecond), int(c.AddressUpgradesPerSecond), int(c.AddressConnections)
	g.JoinsPerSecond, g.AddressJoinsPerSecond = int(c.JoinsPerSecond), int(c.AddressJoinsPerSecond)
	g.OutboundBytes, g.MaxChannelsPerSocket = int(c.OutboundBytes), int(c.MaxChannelsPerSocket)
	g.RechecksPerSecond = int(c.RechecksPerSecond)
	g.DrainDelay, g.DrainSpread, g.DrainRate = time.Duration(c.DrainDelay), time.Duration(c.DrainSpread), int(c.DrainRate)
	g.MaxAge, g.ShedTolerance, g.Version = time.Duration(c.MaxAge), float64(c.Shed), version()
	g.TraceSampleRatio = float64(c.TraceSampleRatio)
	g.SocketLimits, g.UserLimits = c.RateLimits.limits(c.MaxChannelsPerSocket)
	return g
}

// help is the text of --help: every variable with its default.
func help() string {
	return fmt.Sprintf(`gateway: a WebSocket gateway that speaks Phoenix Channels, with NATS behind it.

usage: %[1]s               serve, with settings from the environment
       %[1]s check-config  read the settings and rules, say what is wrong or ok
       %[1]s dev           everything in one process, with a chat page; dev --help
       %[1]s --help        this text

Durations carry a unit (500ms, 60s), sizes are whole bytes.

`, filepath.Base(os.Args[0])) + settings.Help[config]()
}
