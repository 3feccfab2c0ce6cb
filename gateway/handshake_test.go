package gateway

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestSubprotocolToken(t *testing.T) {
	offer := func(token string) string {
		return tokenPrefix + strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(token)), "=")
	}
	for _, c := range []struct {
		name    string
		headers []string
		token   string
		ok, bad bool
	}{
		{"no header", nil, "", false, false},
		{"phoenix alone", []string{"phoenix"}, "", false, false},
		{"phoenix and a token", []string{"phoenix, " + offer("secret")}, "secret", true, false},
		{"the token first", []string{offer("secret") + ",phoenix"}, "secret", true, false},
		{"in two headers", []string{"phoenix", offer("secret")}, "secret", true, false},
		{"the token alone", []string{offer("secret")}, "secret", true, false},
		{"an empty token", []string{"phoenix, " + tokenPrefix}, "", true, false},
		{"standard alphabet", []string{"phoenix, " + offer("\u07ff??>\u07ff")}, "\u07ff??>\u07ff", true, false},
		{"padded", []string{"phoenix, " + tokenPrefix + "YQ=="}, "a", true, false},
		{"a foreign one beside phoenix", []string{"graphql, phoenix"}, "", false, false},
		{"a foreign one", []string{"graphql"}, "", false, true},
		{"a foreign one and a token", []string{"graphql, " + offer("secret")}, "", false, true},
		{"case counts", []string{"Phoenix"}, "", false, true},
		{"two tokens and phoenix: none", []string{"phoenix, " + offer("a") + ", " + offer("b")}, "", false, false},
		{"two tokens without phoenix", []string{offer("a") + ", " + offer("b")}, "", false, true},
		{"bad base64", []string{"phoenix, " + tokenPrefix + "!!!"}, "", false, true},
		{"URL alphabet", []string{"phoenix, " + tokenPrefix + "3_8_"}, "", false, true},
		{"a token that is not UTF-8", []string{"phoenix, " + offer("\xff")}, "", false, true},
	} {
		token, ok, err := subprotocolToken(c.headers)
		if token != c.token || ok != c.ok || (err != nil) != c.bad {
			t.Errorf("%s: %q, %v, %v; want %q, %v, refused %v", c.name, token, ok, err, c.token, c.ok, c.bad)
		}
	}
}

func TestPeerOf(t *testing.T) {
	cfg := &Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "203.0.113.9", nil, "203.0.113.9"},
		{"direct, with a header that nobody vouches for", "203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		{"proxy without a header", "10.0.0.1", nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client claims does not count", "10.0.0.1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1", []string{"198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"two headers", "10.0.0.1", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		{"proxies alone", "10.0.0.1", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"nonsense", "10.0.0.1", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"nonsense behind a proxy", "10.0.0.1", []string{"unknown, 10.0.0.2"}, "10.0.0.2"},
		{"IPv6", "fd00::1", []string{"2001:db8::9"}, "2001:db8::9"},
		{"IPv4 in IPv6", "::ffff:10.0.0.1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
	} {
		req := &http.Request{Header: http.Header{}}
		for _, v := range c.forwarded {
			req.Header.Add("X-Forwarded-For", v)
		}
		if got := cfg.peerOf(netip.MustParseAddr(c.peer), req); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := cfg.peerOf(netip.Addr{}, &http.Request{}); got != "" {
		t.Errorf("without an address: %q", got)
	}
}
