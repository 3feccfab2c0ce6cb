package contracttest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// PROXY headers of version 2 (proxy-protocol.txt §2.2), up to the family.
const (
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n\x21"
	localV2 = "\r\n\r\n\x00\r\nQUIT\n\x20"
)

// proxyV4 and proxyV6 are headers of version 2 that name a client, with TLVs behind.
func proxyV4(client, tlvs string) string {
	addresses := string(netip.MustParseAddr(client).AsSlice()) + "\x0a\x00\x00\x01\xde\x31\x01\xbb" + tlvs
	return proxyV2 + "\x11" + string([]byte{byte(len(addresses) >> 8), byte(len(addresses))}) + addresses
}

func proxyV6(client, tlvs string) string {
	addresses := string(netip.MustParseAddr(client).AsSlice()) + string(netip.MustParseAddr("fd00::1").AsSlice()) + "\xde\x31\x01\xbb" + tlvs
	return proxyV2 + "\x21" + string([]byte{byte(len(addresses) >> 8), byte(len(addresses))}) + addresses
}

// through connects as a proxy that sends a header first, in pieces of a size.
func through(header string, size int) phxtest.Option {
	return phxtest.NetDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		for header := header; header != "" && err == nil; header = header[min(size, len(header)):] {
			_, err = conn.Write([]byte(header[:min(size, len(header))]))
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	})
}

// proxied is a way to a gateway of which the tests' own address may be a trusted proxy: plain or with TLS.
type proxied struct {
	*gateway
	url     string
	options []phxtest.Option
	config  *tls.Config // nil: plain
}

func eachProxied(t *testing.T, natsURL string, settings []string, test func(*testing.T, proxied)) {
	settings = append(settings, "PROXY_PROTOCOL=true", "CONNECT_AUTH=authz", "AUTHZ_HEADERS=x-forwarded-for")
	t.Run("plain", func(t *testing.T) {
		g := startGateway(t, natsURL, authzRules, settings...)
		test(t, proxied{gateway: g, url: g.url("vsn=2.0.0")})
	})
	t.Run("TLS", func(t *testing.T) {
		dir := t.TempDir()
		config := &tls.Config{RootCAs: writeCertificate(t, dir, 1), ServerName: "127.0.0.1"}
		g := startGateway(t, natsURL, authzRules, append(settings,
			"TLS_CERT_FILE="+filepath.Join(dir, "cert.pem"), "TLS_KEY_FILE="+filepath.Join(dir, "key.pem"))...)
		test(t, proxied{g, "wss://" + g.addr + "/socket/websocket?vsn=2.0.0", []phxtest.Option{phxtest.TLS(config)}, config})
	})
}

// allowEach answers connect requests with yes and hands them on.
func allowEach(b *backend) <-chan []byte {
	requests := make(chan []byte, 10)
	b.serve("phx.authz.connect", func(msg *natsMsg) {
		requests <- msg.Data
		reply(msg, `{"allow":true}`)
	})
	return requests
}

func wantPeer(t *testing.T, request []byte, want string) {
	t.Helper()
	var r struct{ Peer string }
	if err := json.Unmarshal(request, &r); err != nil || r.Peer != want {
		t.Errorf("peer %q of %s (%v), want %q", r.Peer, request, err, want)
	}
}

// What a trusted proxy's PROXY header names is the peer, whatever the version and however it arrives; X-Forwarded-For counts only behind another trusted proxy.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b := connectBackend(t, url)
	requests := allowEach(b)
	joins := b.listen("phx.authz.join")
	const whole = 1 << 20
	eachProxied(t, url, []string{"TRUSTED_PROXIES=127.0.0.0/8,10.0.0.0/8"}, func(t *testing.T, p proxied) {
		for _, test := range []struct {
			name, header string
			size         int
			forwarded    string
			peer         string
		}{
			{"v1 IPv4", "PROXY TCP4 203.0.113.9 10.0.0.1 56881 443\r\n", whole, "", "203.0.113.9"},
			{"v1 IPv6", "PROXY TCP6 2001:db8::9 fd00::1 56881 443\r\n", whole, "", "2001:db8::9"},
			{"v1 byte by byte", "PROXY TCP4 203.0.113.9 10.0.0.1 56881 443\r\n", 1, "", "203.0.113.9"},
			{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", whole, "", "127.0.0.1"},
			{"v1 UNKNOWN of 107 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", 50, "", "127.0.0.1"},
			{"v2 IPv4", proxyV4("203.0.113.9", ""), whole, "", "203.0.113.9"},
			{"v2 IPv6", proxyV6("2001:db8::9", ""), whole, "", "2001:db8::9"},
			{"v2 byte by byte", proxyV4("203.0.113.9", "\x04\x00\x02\x0d\x0a"), 1, "", "203.0.113.9"},
			{"v2 with TLVs, 4 KiB", proxyV6("2001:db8::9", "\xee\x0f\xd9"+strings.Repeat("\r\n\r\n", 1014)+"x"), 1000, "", "2001:db8::9"},
			{"v2 IPv4 in IPv6", proxyV6("::ffff:203.0.113.9", ""), whole, "", "203.0.113.9"},
			{"v2 LOCAL", localV2 + "\x00\x00\x00", whole, "", "127.0.0.1"},
			{"v2 LOCAL with an address", localV2 + proxyV4("203.0.113.9", "")[len(localV2):], whole, "", "127.0.0.1"},
			{"a client's X-Forwarded-For", proxyV4("203.0.113.9", ""), whole, "198.51.100.1", "203.0.113.9"},
			{"another proxy's X-Forwarded-For", proxyV4("10.1.2.3", ""), whole, "198.51.100.1, 203.0.113.9", "203.0.113.9"},
			{"the same proxy's X-Forwarded-For", localV2 + "\x00\x00\x00", whole, "203.0.113.9", "203.0.113.9"},
		} {
			t.Run(test.name, func(t *testing.T) {
				options := append([]phxtest.Option{through(test.header, test.size)}, p.options...)
				if test.forwarded != "" {
					options = append(options, phxtest.Header("X-Forwarded-For", test.forwarded))
				}
				c := phxtest.Dial(t, p.url, options...)
				wantPeer(t, <-requests, test.peer)
				c.StartJoin("room:1", struct{}{})
				var join struct{ Socket json.RawMessage }
				if msg := next(t, joins); json.Unmarshal(msg.Data, &join) != nil {
					t.Fatalf("join request %s", msg.Data)
				}
				wantPeer(t, join.Socket, test.peer)
				c.Heartbeat()
			})
		}
	})
}
