package gateway

import (
	"net/http"
	"testing"
)

func TestOriginCheck(t *testing.T) {
	const none = "\x00" // no Origin header
	for _, c := range []struct {
		check, host string
		pass, fail  []string
	}{
		{
			"", "example.com:4000",
			[]string{none, "http://example.com", "https://example.com", "https://example.com:1", "//example.com", "https://EXAMPLE.com"},
			[]string{"", "null", "file://", "http://other.com", "http://a.example.com", "http://example.com.evil.org", "http://xexample.com", "example.com", "http://%zz", "http://:80"},
		},
		{"", "[::1]:4000", []string{"http://[::1]:80", "http://[::1]"}, []string{"http://[::2]", "http://127.0.0.1"}},
		{"", "127.0.0.1", []string{"http://127.0.0.1:9"}, []string{"http://127.0.0.11"}},
		{"same host", "a.example", []string{"http://a.example"}, []string{"http://b.example"}},
		{"false", "example.com", []string{none, "", "null", "http://other.com", "http://%zz"}, nil},
		{
			"https://a.example", "gateway",
			[]string{none, "https://a.example", "https://a.example:443"},
			[]string{"http://a.example", "https://a.example:444", "https://b.a.example", "//a.example", "null", "", "http://gateway"},
		},
		{"https://a.example:8443", "x", []string{"https://a.example:8443"}, []string{"https://a.example", "https://a.example:443"}},
		{"http://a.example", "x", []string{"http://a.example", "http://a.example:80"}, []string{"https://a.example", "https://a.example:80", "http://a.example:8080"}},
		{"//a.example", "x", []string{"http://a.example", "https://a.example:9", "//a.example"}, []string{"http://b.example"}},
		{"//a.example:81", "x", []string{"http://a.example:81", "https://a.example:81"}, []string{"http://a.example"}},
		{
			"//*.b.example", "x",
			[]string{"http://b.example", "https://a.b.example", "https://c.a.b.example:99"},
			[]string{"http://prefix-b.example", "http://xb.example", "http://b.example.evil.org", "http://example"},
		},
		{" https://a.example , //*.b.example ", "x", []string{"https://a.example", "http://z.b.example"}, []string{"http://a.example", "http://c.example"}},
	} {
		check, err := ParseOriginCheck(c.check)
		if err != nil {
			t.Errorf("%q: %v", c.check, err)
			continue
		}
		for want, origins := range map[bool][]string{true: c.pass, false: c.fail} {
			for _, origin := range origins {
				req := &http.Request{Host: c.host, Header: http.Header{}}
				if origin != none {
					req.Header["Origin"] = []string{origin, "http://second.example"} // only the first counts
				}
				if got := check.allows(req); got != want {
					t.Errorf("check %q, host %q, origin %q: %v, want %v", c.check, c.host, origin, got, want)
				}
			}
		}
	}
}

func TestParseOriginCheckRefuses(t *testing.T) {
	for _, s := range []string{
		"true", "example.com", "https://", "//", "https://a.example/path", "https://a.example?x", "https://u@a.example", "//a.*.example", "//*", "//*a.example",
		"https://a.example,", ",", "//a.example,nonsense", "https://a.example:port",
	} {
		if c, err := ParseOriginCheck(s); err == nil {
			t.Errorf("%q is read as %+v", s, c)
		}
	}
}
