package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// OriginCheck says which Origin headers may connect (Phoenix 1.8 socket/transport.ex, check_origin/5). The zero value is the same-host check.
type OriginCheck struct {
	off  bool
	list []originEntry
}

type originEntry struct {
	scheme, host, port string // "" matches any; host may begin with "*."
}

// ParseOriginCheck reads CHECK_ORIGIN: "" (the origin's host must be the request's), "false", or a list such as
// "https://a.example,//*.b.example".
func ParseOriginCheck(s string) (OriginCheck, error) {
	switch s {
	case "", "same host":
		return OriginCheck{}, nil
	case "false":
		return OriginCheck{off: true}, nil
	}
	var c OriginCheck
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		u, err := url.Parse(part)
		if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return OriginCheck{}, fmt.Errorf("%q is not an origin: want scheme://host:port, scheme and port optional, as //host or //*.host", part)
		}
		if strings.Contains(strings.TrimPrefix(u.Hostname(), "*."), "*") {
			return OriginCheck{}, fmt.Errorf("%q: * may only stand for subdomains, as //*.host", part)
		}
		e := originEntry{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
		if e.port == "" {
			e.port = defaultPort(e.scheme)
		}
		c.list = append(c.list, e)
	}
	return c, nil
}

// allows reports whether the request may connect. Without an Origin header it may; only the first one counts.
func (c OriginCheck) allows(req *http.Request) bool {
	values := req.Header["Origin"]
	if len(values) == 0 || c.off {
		return true
	}
	u, err := url.Parse(values[0])
	if err != nil || u.Hostname() == "" {
		return false // "null", "file://" and the empty one have no host
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	if c.list == nil {
		own := req.Host
		if h, _, err := net.SplitHostPort(own); err == nil {
			own = h
		}
		return strings.EqualFold(host, strings.Trim(own, "[]"))
	}
	for _, e := range c.list {
		if (e.scheme == "" || e.scheme == u.Scheme) && (e.port == "" || e.port == port) && matchHost(e.host, host) {
			return true
		}
	}
	return false
}

// matchHost compares a host with an entry's; "*.b" matches b and its subdomains.
func matchHost(pattern, host string) bool {
	if base, ok := strings.CutPrefix(pattern, "*."); ok {
		return host == base || strings.HasSuffix(host, "."+base)
	}
	return pattern == host
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}
