package gateway

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// Bytes of version 2 (proxy-protocol.txt §2.2).
const (
	signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"
	localV2     = signatureV2 + "\x20"
	proxyV2     = signatureV2 + "\x21"
	addressesV4 = "\xcb\x00\x71\x09\x0a\x00\x00\x01\xde\x31\x01\xbb"
)

var (
	addressesV6 = string(netip.MustParseAddr("2001:db8::9").AsSlice()) + string(netip.MustParseAddr("fd00::1").AsSlice()) + "\xde\x31\x01\xbb"
	mappedV6    = string(netip.MustParseAddr("::ffff:203.0.113.9").AsSlice()) + addressesV6[16:]
)

// proxyHeaders are whole headers of a connection from 10.0.0.1, and the client that each names; none: "".
var proxyHeaders = []struct{ name, header, client string }{
	{"v1 IPv4", "PROXY TCP4 203.0.113.9 10.0.0.1 56881 443\r\n", "203.0.113.9"},
	{"v1 IPv6", "PROXY TCP6 2001:db8::9 fd00::1 56881 443\r\n", "2001:db8::9"},
	{"v1 IPv4 in IPv6", "PROXY TCP6 ::ffff:203.0.113.9 fd00::1 56881 443\r\n", "203.0.113.9"},
	{"v1 longest of TCP", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", "10.0.0.1"},
	{"v1 UNKNOWN with more", "PROXY UNKNOWN " + strings.Repeat("x", maxProxyLine-16) + "\r\n", "10.0.0.1"},
	{"v1 another protocol", "PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n", ""},
	{"v1 an address that is none", "PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n", ""},
	{"v1 an address of the other family", "PROXY TCP4 2001:db8::9 fd00::1 1 2\r\n", ""},
	{"v1 an address with a zone", "PROXY TCP6 fe80::1%eth0 fd00::1 1 2\r\n", ""},
	{"v1 a port that is none", "PROXY TCP4 203.0.113.9 10.0.0.1 65536 2\r\n", ""},
	{"v1 too few fields", "PROXY TCP4 203.0.113.9 10.0.0.1 1\r\n", ""},
	{"v1 two spaces", "PROXY  TCP4 203.0.113.9 10.0.0.1 1 2\r\n", ""},
	{"v1 without CR", "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n", ""},
	{"v2 IPv4", proxyV2 + "\x11\x00\x0c" + addressesV4, "203.0.113.9"},
	{"v2 IPv6", proxyV2 + "\x21\x00\x24" + addressesV6, "2001:db8::9"},
	{"v2 IPv4 in IPv6", proxyV2 + "\x21\x00\x24" + mappedV6, "203.0.113.9"},
	{"v2 with TLVs", proxyV2 + "\x11\x00\x13" + addressesV4 + "\x04\x00\x04\x0d\x0a\x0d\x0a", "203.0.113.9"},
	{"v2 longest", proxyV2 + "\x11\x10\x00" + addressesV4 + strings.Repeat("\x00", maxProxyRest-len(addressesV4)), "203.0.113.9"},
	{"v2 LOCAL", localV2 + "\x00\x00\x00", "10.0.0.1"},
	{"v2 LOCAL with an address", localV2 + "\x11\x00\x0c" + addressesV4, "10.0.0.1"},
	{"v2 LOCAL with anything", localV2 + "\x11\x00\x03abc", "10.0.0.1"},
	{"v2 of no family", proxyV2 + "\x00\x00\x00", ""},
	{"v2 UDP", proxyV2 + "\x12\x00\x0c" + addressesV4, ""},
	{"v2 a Unix socket", proxyV2 + "\x31\x00\xd8" + strings.Repeat("/", 216), ""},
	{"v2 an unknown family", proxyV2 + "\x41\x00\x0c" + addressesV4, ""},
	{"v2 an unknown command", signatureV2 + "\x22\x11\x00\x0c" + addressesV4, ""},
	{"v2 another version", signatureV2 + "\x11\x11\x00\x0c" + addressesV4, ""},
	{"v2 shorter than its addresses", proxyV2 + "\x11\x00\x0b" + addressesV4[:11], ""},
}

var proxyAddr = netip.MustParseAddr("10.0.0.1")

func TestProxyHeader(t *testing.T) {
	for _, c := range proxyHeaders {
		t.Run(c.name, func(t *testing.T) {
			for n := range len(c.header) {
				if size, err := proxyHeaderSize([]byte(c.header[:n])); err != nil || size <= n || size > len(c.header) {
					t.Fatalf("after %d of %d bytes: size %d, %v", n, len(c.header), size, err)
				}
			}
			const rest = "\nPROXY\r\n"
			if size, err := proxyHeaderSize([]byte(c.header + rest)); err != nil || size != len(c.header) {
				t.Fatalf("size %d, %v, want %d", size, err, len(c.header))
			}
			for name, r := range map[string]io.Reader{
				"at once": strings.NewReader(c.header + rest), "byte by byte": iotest.OneByteReader(strings.NewReader(c.header + rest)),
				"with its end": iotest.DataErrReader(strings.NewReader(c.header)),
			} {
				client, err := readProxyHeader(r, proxyAddr)
				wantClient(t, name, client, err, c.client)
				if left, _ := io.ReadAll(r); name != "with its end" && string(left) != rest {
					t.Errorf("%s: left %q, want %q", name, left, rest)
				}
			}
		})
	}
}

// wantClient wants the address, or with "" that it is refused.
func wantClient(t *testing.T, name string, client netip.Addr, err error, want string) {
	t.Helper()
	switch {
	case want == "" && !errors.Is(err, errProxyHeader):
		t.Errorf("%s: %v, %v, want it refused", name, client, err)
	case want != "" && (err != nil || client.String() != want):
		t.Errorf("%s: %v, %v, want %s", name, client, err, want)
	}
}

// What can be no header is refused with its first wrong byte, since the proxy may wait for an answer.
func TestNoProxyHeader(t *testing.T) {
	for _, c := range []struct {
		name, data string
		right      int // bytes that may yet become a header
	}{
		{"HTTP", "GET / HTTP/1.1\r\n", 0},
		{"POST", "POST / HTTP/1.1\r\n", 1},
		{"a TLS hello", "\x16\x03\x01\x02\x00", 0},
		{"lower case", "proxy TCP4", 0},
		{"no space", "PROXY\tTCP4", 5},
		{"an empty request", "\r\n\r\nGET", 4},
		{"almost version 2", "\r\n\r\n\x00\r\nQUIT\r", 11},
		{"a line of 108 bytes", "PROXY UNKNOWN " + strings.Repeat("x", maxProxyLine-15) + "\r\n", maxProxyLine - 1},
		{"version 2 too long", proxyV2 + "\x11\x10\x01", 15},
		{"version 2, as long as can be", localV2 + "\x00\xff\xff", 15},
	} {
		for n := 1; n <= len(c.data); n++ {
			if _, err := proxyHeaderSize([]byte(c.data[:n])); (err != nil) != (n > c.right) || err != nil && !errors.Is(err, errProxyHeader) {
				t.Errorf("%s: after %d bytes: %v; %d may be a header", c.name, n, err, c.right)
			}
		}
	}
	if _, err := readProxyHeader(strings.NewReader("PROXY TCP4"), proxyAddr); !errors.Is(err, io.EOF) {
		t.Errorf("the end within a header: %v, want EOF", err)
	}
}

// proxiedLoop is a loop that believes 10.0.0.0/8.
func proxiedLoop(t testing.TB) *loop {
	t.Helper()
	l, _ := newTestLoop(t, func(cfg *Config) {
		cfg.ProxyProtocol, cfg.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	return l
}

// adoptFrom makes a socket of a connection from an address.
func adoptFrom(l *loop, peer netip.Addr) (*socket, *fakeTransport) {
	tr := &fakeTransport{keep: true}
	l.srv.open.Add(1)
	return l.adopt(tr, -1, peer), tr
}

// A trusted proxy's socket takes the client's address, however the header is cut, and keeps nothing of it.
func TestFeedProxyHeader(t *testing.T) {
	l := proxiedLoop(t)
	for _, c := range proxyHeaders {
		for _, step := range []int{1, 5, 1 << 20} {
			s, tr := adoptFrom(l, proxyAddr)
			for data := []byte(c.header); len(data) > 0 && s.state == introducing; {
				n := min(step, len(data))
				l.feed(s, data[:n])
				data = data[n:]
			}
			if c.client == "" {
				if s.state != gone || !tr.aborted || len(tr.written) > 0 {
					t.Errorf("%s in steps of %d: state %d, aborted %v, written %q", c.name, step, s.state, tr.aborted, tr.written)
				}
				continue
			}
			if s.state != handshaking || s.peer.String() != c.client || s.in != nil {
				t.Errorf("%s in steps of %d: state %d, peer %v, kept %v, want %s", c.name, step, s.state, s.peer, s.in, c.client)
			}
			l.abort(s, causeClient)
		}
	}
	refused := 0
	for _, c := range proxyHeaders {
		if c.client == "" {
			refused += 3
		}
	}
	if n := l.stats.socketsEnded.n[causeProxyHeader].load(); n != int64(refused) {
		t.Errorf("%d ended for their header, want %d", n, refused)
	}
	if n := l.srv.inboundBytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted though no socket is left", n)
	}
}

// The head may come with the header; from elsewhere a header is no request.
func TestProxyHeaderThenHead(t *testing.T) {
	l := proxiedLoop(t)
	const head = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct{ name, peer, data, answer string }{
		{"trusted", "10.0.0.1", proxyHeaders[0].header + head, "HTTP/1.1 404 "},
		{"trusted, two headers", "10.0.0.1", proxyHeaders[0].header + proxyHeaders[0].header + head, "HTTP/1.1 400 "},
		{"untrusted", "203.0.113.1", head, "HTTP/1.1 404 "},
		{"untrusted, v1", "203.0.113.1", proxyHeaders[0].header + head, "HTTP/1.1 400 "},
		{"untrusted, v2", "203.0.113.1", proxyV2 + "\x11\x00\x0c" + addressesV4 + head, "HTTP/1.1 400 "},
	} {
		s, tr := adoptFrom(l, netip.MustParseAddr(c.peer))
		l.feed(s, []byte(c.data))
		l.flushSockets()
		if !strings.HasPrefix(string(tr.written), c.answer) {
			t.Errorf("%s: answered %q, want %s", c.name, tr.written, c.answer)
		}
	}
}

// A header that does not come to its end has the time of a handshake; a drain does not wait for it.
func TestProxyHeaderNeverEnds(t *testing.T) {
	l := proxiedLoop(t)
	late, lateTr := adoptFrom(l, proxyAddr)
	l.feed(late, []byte("PROXY TCP4 "))
	tickMail(l.now + ticks(headTimeout) - 1).deliver(l)
	if late.state != introducing {
		t.Fatalf("state %d before the time is over", late.state)
	}
	for range scanTicks {
		tickMail(l.now + 1).deliver(l)
	}
	if late.state != gone || !lateTr.aborted {
		t.Errorf("state %d after the time is over", late.state)
	}
	silent, silentTr := adoptFrom(l, proxyAddr)
	l.closeAll()
	if silent.state != gone || !silentTr.aborted || len(silentTr.written) > 0 {
		t.Errorf("drained: state %d, written %q", silent.state, silentTr.written)
	}
}
