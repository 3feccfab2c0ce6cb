package main

import (
	"cmp"
	"crypto/tls"
	"encoding"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/nats"
)

// settings are the program's environment variables. The tags are the truth that --help prints and docs/settings.md repeats.
type settings struct {
	Listen     string `env:"LISTEN" envDefault:":4000" help:"clients: <SOCKET_PATH>/websocket; any other path is 404"`
	SocketPath string `env:"SOCKET_PATH" envDefault:"/socket" help:"mount point, as in Phoenix's socket \"/socket\""`
	TLSCert    string `env:"TLS_CERT_FILE" help:"TLS on LISTEN, with TLS_KEY_FILE; reread when the files change" none:"none: plain"`
	TLSKey     string `env:"TLS_KEY_FILE" help:"key of TLS_CERT_FILE" none:"none: plain"`

	AdminListen string `env:"ADMIN_LISTEN" envDefault:":9090" help:"/healthz, /readyz, /metrics, /debug/pprof/; never the clients' port"`

	NATSURL   string `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"one or more servers, separated by commas"`
	NATSCreds string `env:"NATS_CREDS" help:"credentials file (JWT and NKEY)" none:"none"`
	NATSNKey  string `env:"NATS_NKEY" help:"NKEY seed file" none:"none"`
	NATSCA    string `env:"NATS_CA" help:"CA of the servers, PEM file" none:"none"`
	NATSCert  string `env:"NATS_CERT" help:"client certificate, PEM file, with NATS_KEY" none:"none"`
	NATSKey   string `env:"NATS_KEY" help:"key of NATS_CERT" none:"none"`
	Prefix    string `env:"SUBJECT_PREFIX" envDefault:"phx" help:"of all subjects; for several fleets on one NATS"`

	ChannelsFile string `env:"CHANNELS_FILE" help:"channel rules, YAML; reread on SIGHUP" none:"none: refuse to start (gateway dev brings its own)"`
	ConnectAuth  string `env:"CONNECT_AUTH" envDefault:"authz" help:"authz (ask <prefix>.authz.connect) or allow"`
	AuthzHeaders names  `env:"AUTHZ_HEADERS" envDefault:"user-agent,origin" help:"request headers that the connect request carries; add cookie for session cookies"`
	CheckOrigin  origin `env:"CHECK_ORIGIN" envDefault:"same host" help:"same host, false, or a list such as https://a.example,//*.b.example"`
	Proxies      cidrs  `env:"TRUSTED_PROXIES" help:"CIDRs whose X-Forwarded-For is believed" none:"none"`

	MaxConnections       count `env:"MAX_CONNECTIONS" help:"more: 503 before the upgrade" none:"what the descriptor limit allows"`
	MaxFrameBytes        count `env:"MAX_FRAME_BYTES" envDefault:"1048576" shown:"1 MiB" help:"a message larger, fragments together, is closed with 1009"`
	InboundBytesTotal    count `env:"INBOUND_BYTES_TOTAL" envDefault:"268435456" shown:"256 MiB" help:"of messages that are not complete yet; beyond it the largest are closed with 1009"`
	OutboundBytes        count `env:"OUTBOUND_BYTES" envDefault:"1048576" shown:"1 MiB" help:"that may wait for one socket; beyond it the socket is aborted"`
	MaxChannelsPerSocket count `env:"MAX_CHANNELS_PER_SOCKET" envDefault:"100" help:"joins that are under way count"`

	IdleTimeout  duration `env:"IDLE_TIMEOUT" envDefault:"60s" help:"no frame from the client for so long: closed"`
	AuthzTimeout duration `env:"AUTHZ_TIMEOUT" envDefault:"5s" help:"for connect and join"`
	DrainTimeout duration `env:"DRAIN_TIMEOUT" envDefault:"30s" help:"how long SIGTERM may take"`
	ReadyGrace   duration `env:"READY_GRACE" envDefault:"5s" help:"a NATS hiccup shorter than this does not make a fleet unready"`
	GapSpread    duration `env:"GAP_SPREAD" envDefault:"3s" help:"over how long channels are told to rejoin after a gap"`

	LogLevel  logLevel `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	GatewayID string   `env:"GATEWAY_ID" help:"name of this gateway in channel ids; must be new for each start" none:"host name and a random part"`

	rules *rules.Set
}

// Types that parse strictly: a value that does not parse stops the program and names the variable.
type (
	count    int
	duration time.Duration
	origin   struct{ gateway.OriginCheck }
	cidrs    []netip.Prefix
	names    []string
	logLevel string
)

var (
	_ encoding.TextUnmarshaler = (*count)(nil)
	_ encoding.TextUnmarshaler = (*duration)(nil)
	_ encoding.TextUnmarshaler = (*origin)(nil)
	_ encoding.TextUnmarshaler = (*cidrs)(nil)
	_ encoding.TextUnmarshaler = (*logLevel)(nil)
	_ encoding.TextUnmarshaler = (*names)(nil)
)

func (c *count) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 40)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not a whole number of 1 or more", b)
	}
	*c = count(n)
	return nil
}

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration with a unit, such as 500ms or 60s", b)
	}
	if v <= 0 {
		return fmt.Errorf("%q must be more than zero", b)
	}
	*d = duration(v)
	return nil
}

func (o *origin) UnmarshalText(b []byte) (err error) {
	o.OriginCheck, err = gateway.ParseOriginCheck(string(b))
	return err
}

func (c *cidrs) UnmarshalText(b []byte) error {
	*c = nil
	for part := range strings.SplitSeq(string(b), ",") {
		part = strings.TrimSpace(part)
		p, err := netip.ParsePrefix(part)
		if err != nil {
			a, errAddr := netip.ParseAddr(part)
			if errAddr != nil {
				return fmt.Errorf("%q is not a CIDR such as 10.0.0.0/8", part)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		*c = append(*c, p.Masked())
	}
	return nil
}

func (n *names) UnmarshalText(b []byte) error {
	*n = nil
	for part := range strings.SplitSeq(string(b), ",") {
		if part = strings.TrimSpace(part); part == "" || strings.ContainsAny(part, " \t:") {
			return fmt.Errorf("%q is not a list of header names such as user-agent,origin", b)
		}
		*n = append(*n, part)
	}
	return nil
}

func (l *logLevel) UnmarshalText(b []byte) error {
	switch string(b) {
	case "debug", "info", "warn", "error":
		*l = logLevel(b)
		return nil
	}
	return fmt.Errorf("%q is none of debug, info, warn, error", b)
}

// load reads and checks the environment. All mistakes are in the error, a line each, with the variable's name.
func load(environ map[string]string) (*settings, error) {
	var s settings
	err := env.ParseWithOptions(&s, env.Options{Environment: environ})
	var errs []error
	var agg env.AggregateError
	if errors.As(err, &agg) {
		for _, e := range agg.Errors {
			errs = append(errs, named(e))
		}
	} else if err != nil {
		errs = append(errs, named(err))
	}
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, a := range []struct{ name, addr string }{{"LISTEN", s.Listen}, {"ADMIN_LISTEN", s.AdminListen}} {
		if _, err := net.ResolveTCPAddr("tcp", a.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q: want host:port or :port: %w", a.name, a.addr, err))
		}
	}
	errs = append(errs, checkURLs(s.NATSURL), s.checkFiles())
	bad((s.TLSCert == "") != (s.TLSKey == ""), "TLS_CERT_FILE and TLS_KEY_FILE: set both or none")
	bad((s.NATSCert == "") != (s.NATSKey == ""), "NATS_CERT and NATS_KEY: set both or none")
	bad(s.NATSCreds != "" && s.NATSNKey != "", "NATS_CREDS and NATS_NKEY: set one of them")
	bad(!strings.HasPrefix(s.SocketPath, "/") || len(s.SocketPath) > 1 && strings.HasSuffix(s.SocketPath, "/") || strings.ContainsAny(s.SocketPath, " ?#%"),
		"SOCKET_PATH: %q: want a path that begins with / and does not end with it", s.SocketPath)
	bad(s.GatewayID != "" && !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(s.GatewayID), "GATEWAY_ID: %q: want at most 64 characters A-Z a-z 0-9 - _", s.GatewayID)
	switch s.ConnectAuth {
	case "authz", "allow":
	case "jwt":
		errs = append(errs, errors.New("CONNECT_AUTH: jwt is not supported yet"))
	default:
		errs = append(errs, fmt.Errorf("CONNECT_AUTH: %q is none of authz, allow", s.ConnectAuth))
	}
	for _, name := range []string{"JWT_SECRET", "JWT_PUBLIC_KEY_FILE", "JWT_JWKS_URL"} {
		bad(environ[name] != "", "%s: JWT is not supported yet", name)
	}
	if _, err := nats.NewSubjects(s.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("SUBJECT_PREFIX: %w", err))
	}
	if s.ChannelsFile == "" {
		errs = append(errs, errors.New("CHANNELS_FILE: not set: a gateway needs channel rules (gateway dev brings its own)"))
	} else if s.rules, err = rules.Load(s.ChannelsFile); err != nil {
		errs = append(errs, fmt.Errorf("CHANNELS_FILE: %w", err))
	}
	if s.MaxConnections == 0 {
		s.MaxConnections = count(maxConnections())
	}
	return &s, errors.Join(errs...)
}

// checkURLs checks NATS_URL.
func checkURLs(list string) error {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return errors.New("NATS_URL: want nats://host:port, several separated by commas") // the URL may hold a password
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("NATS_URL: %s:// is none of nats, tls, ws, wss", u.Scheme)
		}
	}
	return nil
}

// checkFiles looks into the files that are named, so that a mistake shows at the start and in check-config.
func (s *settings) checkFiles() error {
	var errs []error
	for _, f := range []struct{ name, path string }{{"NATS_CREDS", s.NATSCreds}, {"NATS_NKEY", s.NATSNKey}, {"NATS_CA", s.NATSCA}} {
		if f.path == "" {
			continue
		}
		if _, err := os.ReadFile(f.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	for _, p := range []struct{ name, cert, key string }{{"NATS_CERT, NATS_KEY", s.NATSCert, s.NATSKey}, {"TLS_CERT_FILE, TLS_KEY_FILE", s.TLSCert, s.TLSKey}} {
		if p.cert == "" || p.key == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(p.cert, p.key); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// named says the variable's name instead of the field's.
func named(err error) error {
	var pe env.ParseError
	if errors.As(err, &pe) {
		if f, ok := reflect.TypeFor[settings]().FieldByName(pe.Name); ok {
			return fmt.Errorf("%s: %w", f.Tag.Get("env"), pe.Err)
		}
	}
	return err
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
func (s *settings) gatewayConfig() gateway.Config {
	c := gateway.DefaultConfig()
	c.ID, c.SocketPath, c.Rules = s.GatewayID, strings.TrimSuffix(s.SocketPath, "/"), s.rules
	c.CheckOrigin, c.TrustedProxies, c.AuthzHeaders = s.CheckOrigin.OriginCheck, s.Proxies, s.AuthzHeaders
	c.AuthzTimeout, c.IdleTimeout, c.GapSpread = time.Duration(s.AuthzTimeout), time.Duration(s.IdleTimeout), time.Duration(s.GapSpread)
	c.MaxConnections, c.MaxFrameBytes, c.InboundBytesTotal = int(s.MaxConnections), int(s.MaxFrameBytes), int(s.InboundBytesTotal)
	c.OutboundBytes, c.MaxChannelsPerSocket = int(s.OutboundBytes), int(s.MaxChannelsPerSocket)
	return c
}

// environment is the process's environment as a map.
func environment() map[string]string {
	out := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// help is the text of --help: every variable with its default.
func help() string {
	var b strings.Builder
	fmt.Fprintf(&b, `gateway: a WebSocket gateway that speaks Phoenix Channels, with NATS behind it.

usage: %[1]s               serve, with settings from the environment
       %[1]s check-config  read the settings and rules, say what is wrong or ok
       %[1]s dev           everything in one process, with a chat page; dev --help
       %[1]s --help        this text

Durations carry a unit (500ms, 60s), sizes are whole bytes.

`, filepath.Base(os.Args[0]))
	t := reflect.TypeFor[settings]()
	for f := range fields(t) {
		def := cmp.Or(f.Tag.Get("shown"), f.Tag.Get("envDefault"), f.Tag.Get("none"))
		fmt.Fprintf(&b, "  %-24s %s\n  %-24s default: %s\n", f.Tag.Get("env"), f.Tag.Get("help"), "", def)
	}
	return b.String()
}

// fields are the fields that are settings.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("env") != "" && !yield(f) {
				return
			}
		}
	}
}
