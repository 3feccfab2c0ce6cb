package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/phxgate/phxgate/gateway/rules"
)

// Config says how one gateway serves. Start from [DefaultConfig]; [Config.Validate] names what is wrong.
type Config struct {
	// ID names this gateway in channel ids: subject-safe characters, unique for each start.
	ID string
	// SocketPath is the mount point; clients connect to SocketPath + "/websocket". Default "/socket".
	SocketPath string
	// Rules are the channel rules at the start; [Server.SetRules] exchanges them.
	Rules *rules.Set
	// Handler serves paths that are no sockets; nil answers 404.
	Handler http.Handler
	// Presence keeps who is on which topic; nil: nobody does, and rules that speak of it have no effect.
	Presence Presence
	// Loops is how many event loops own sockets. Default: one per two cores, at least one.
	Loops int

	CheckOrigin    OriginCheck
	TrustedProxies []netip.Prefix // whose X-Forwarded-For and PROXY header are believed
	ProxyProtocol  bool           // connections from TrustedProxies, and no others, begin with a PROXY header, v1 or v2; those without one are aborted
	AuthzHeaders   []string       // request headers that the connect request carries
	AuthzTimeout   time.Duration  // bound of a connect decision; default 5 s

	Compress bool // permessage-deflate with clients that offer it; default false

	// Limits on what clients may ask at once, of the whole gateway and of one address (with IPv6, of one network of 64 bits). 0, the default: none. What is beyond waits in a queue, and is
	// refused after that: see admission.go.
	UpgradesPerSecond        int
	AddressUpgradesPerSecond int
	JoinsPerSecond           int
	AddressJoinsPerSecond    int
	AddressConnections       int // upgraded or about to be

	MaxConnections       int // default 1<<30: set it from the descriptor limit
	MaxFrameBytes        int // of one message, fragments together; default 1 MiB
	InboundBytesTotal    int // of messages that are not complete yet, all sockets together; default 256 MiB
	OutboundBytes        int // that may wait for one socket; default 1 MiB
	OutboundBytesTotal   int // that may wait for all sockets, what is shared counted once on each loop; default 256 MiB
	MaxChannelsPerSocket int // joins that are under way count; default 100
	RechecksPerSecond    int // how many joined channels the authorizer is asked about anew; default 1000

	SocketLimits Limits // how often one socket may send and join, beside the rules' limits; default: no limit
	UserLimits   Limits // the same for all sockets of one id on this gateway together

	TraceSampleRatio float64 // of the traces that begin here, the share that is marked as recorded; default 1

	IdleTimeout time.Duration // no frame for so long: closed with 1002; default 60 s
	TopicLinger time.Duration // how long a topic without members stays subscribed; default 10 s
	GapSpread   time.Duration // over how long channels are told to rejoin after a gap; default 3 s

	DrainDelay    time.Duration // how long a draining gateway, which says so already, goes on taking sockets; default 0
	DrainSpread   time.Duration // over how long it closes them then, unless DrainRate or Serve's drainTimeout say otherwise; default 15 s
	DrainRate     int           // sockets closed in a second, at most: in a drain, for their age, or to shed them; default 500
	MaxAge        time.Duration // of a socket, at most; the last quarter is jitter. Default 0: none
	ShedTolerance float64       // part of the fleet's mean by which a gateway may be above it before it sheds sockets; default 0: it never does

	// Fleet tells other gateways how this one is; nil: it is alone.
	Fleet Fleet
	// Version of the program, for the fleet: gateways of different versions are a fleet that rolls.
	Version string

	Log *slog.Logger
}

// DefaultConfig returns the defaults of the contract for everything but ID and Rules.
func DefaultConfig() Config {
	return Config{
		SocketPath: "/socket", AuthzHeaders: []string{"user-agent", "origin"}, AuthzTimeout: 5 * time.Second,
		MaxConnections: 1 << 30, MaxFrameBytes: 1 << 20, InboundBytesTotal: 256 << 20, OutboundBytes: 1 << 20, OutboundBytesTotal: 256 << 20, MaxChannelsPerSocket: 100,
		RechecksPerSecond: 1000, TraceSampleRatio: 1, IdleTimeout: 60 * time.Second, TopicLinger: 10 * time.Second, GapSpread: 3 * time.Second,
		DrainSpread: 15 * time.Second, DrainRate: 500,
	}
}

// Validate reports what is wrong, field by field.
func (c *Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.ID != "" && !strings.ContainsFunc(c.ID, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}), "ID %q: want characters A-Z a-z 0-9 - _", c.ID)
	bad(c.SocketPath == "" || strings.HasPrefix(c.SocketPath, "/") && !strings.HasSuffix(c.SocketPath, "/"), "SocketPath %q: want a path that begins and does not end with /, or nothing", c.SocketPath)
	bad(c.Rules != nil, "Rules are missing")
	bad(c.TraceSampleRatio >= 0 && c.TraceSampleRatio <= 1, "TraceSampleRatio %v: want 0 to 1", c.TraceSampleRatio)
	bad(!c.ProxyProtocol || len(c.TrustedProxies) > 0, "ProxyProtocol without TrustedProxies: nobody's PROXY header would be believed")
	for name, n := range map[string]int{
		"MaxConnections": c.MaxConnections, "MaxFrameBytes": c.MaxFrameBytes, "InboundBytesTotal": c.InboundBytesTotal,
		"OutboundBytes": c.OutboundBytes, "OutboundBytesTotal": c.OutboundBytesTotal, "MaxChannelsPerSocket": c.MaxChannelsPerSocket, "RechecksPerSecond": c.RechecksPerSecond, "DrainRate": c.DrainRate,
	} {
		bad(n > 0, "%s %d: must be more than 0", name, n)
	}
	for name, d := range map[string]time.Duration{
		"AuthzTimeout": c.AuthzTimeout, "IdleTimeout": c.IdleTimeout, "TopicLinger": c.TopicLinger, "GapSpread": c.GapSpread, "DrainSpread": c.DrainSpread,
	} {
		bad(d > 0, "%s %v: must be more than 0", name, d)
	}
	for name, n := range map[string]int{
		"UpgradesPerSecond": c.UpgradesPerSecond, "AddressUpgradesPerSecond": c.AddressUpgradesPerSecond, "JoinsPerSecond": c.JoinsPerSecond,
		"AddressJoinsPerSecond": c.AddressJoinsPerSecond, "AddressConnections": c.AddressConnections,
	} {
		bad(n >= 0, "%s %d: must not be less than 0", name, n)
	}
	bad(c.DrainDelay >= 0, "DrainDelay %v: must not be less than 0", c.DrainDelay)
	bad(c.MaxAge >= 0, "MaxAge %v: must not be less than 0", c.MaxAge)
	bad(c.ShedTolerance >= 0, "ShedTolerance %v: must not be less than 0", c.ShedTolerance)
	errs = append(errs, c.SocketLimits.Events.validate("SocketLimits.Events"), c.SocketLimits.Joins.validate("SocketLimits.Joins"),
		c.UserLimits.Events.validate("UserLimits.Events"), c.UserLimits.Joins.validate("UserLimits.Joins"))
	return errors.Join(errs...)
}
