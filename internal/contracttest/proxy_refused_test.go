package contracttest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const upgradeHead = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// tcp connects and sends data, which may be more than the gateway reads.
func (g *gateway) tcp(t *testing.T, data string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.addr, phxtest.Patience())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * phxtest.Patience())); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte(data)) // what became of it is read
	return conn
}

// endedFor is how many sockets ended for a cause so far.
func (g *gateway) endedFor(t *testing.T, cause string) int {
	t.Helper()
	return g.count(t, `phxgate_sockets_ended_total{cause="`+cause+`"}`)
}

// wantCut wants the connection to end without an answer, and not by a timeout of this side.
func wantCut(t *testing.T, conn net.Conn) {
	t.Helper()
	got, err := io.ReadAll(conn)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Errorf("still open")
	}
	if len(got) > 0 {
		t.Errorf("answered %q", got)
	}
}

// A trusted proxy's connection without a valid PROXY header is closed at once, without an answer, and counted.
func TestProxyHeaderRefused(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	requests := allowEach(connectBackend(t, url))
	good := proxyV4("203.0.113.9", "")
	eachProxied(t, url, []string{"TRUSTED_PROXIES=127.0.0.1"}, func(t *testing.T, p proxied) {
		for _, test := range []struct{ name, data string }{
			{"no header", upgradeHead},
			{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
			{"one wrong byte", "x"},
			{"v1 of another protocol", "PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n" + upgradeHead},
			{"v1 with a bad address", "PROXY TCP4 203.0.113.999 10.0.0.1 1 2\r\n" + upgradeHead},
			{"v1 with the other family", "PROXY TCP4 2001:db8::9 fd00::1 1 2\r\n" + upgradeHead},
			{"v1 with a bad port", "PROXY TCP4 203.0.113.9 10.0.0.1 1 65536\r\n" + upgradeHead},
			{"v1 without CR", "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n" + upgradeHead},
			{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n" + upgradeHead},
			{"v1 without end", "PROXY UNKNOWN " + strings.Repeat("f", 93)},
			{"v2 of another version", strings.Replace(good, "\n\x21", "\n\x11", 1) + upgradeHead},
			{"v2 of an unknown command", strings.Replace(good, "\n\x21", "\n\x22", 1) + upgradeHead},
			{"v2 of UDP", strings.Replace(good, "\x21\x11", "\x21\x12", 1) + upgradeHead},
			{"v2 shorter than its address", proxyV2 + "\x11\x00\x02xx" + upgradeHead},
			{"v2 too long", proxyV2 + "\x11\x10\x01"},
			{"v2 LOCAL too long", localV2 + "\x00\xff\xff"},
		} {
			t.Run(test.name, func(t *testing.T) {
				before := p.endedFor(t, "proxy_header")
				wantCut(t, p.tcp(t, test.data))
				waitFor(t, "the end to be counted", func() bool { return p.endedFor(t, "proxy_header") == before+1 })
			})
		}
		p.tcp(t, good[:20]).Close() // within the header
		phxtest.Dial(t, p.url, append(p.options, through(good, len(good)))...).Heartbeat()
		wantPeer(t, <-requests, "203.0.113.9")
	})
}

// A PROXY header has the 10 s of a handshake, and none more, however it drips.
func TestProxyHeaderTimeout(t *testing.T) {
	t.Parallel()
	eachProxied(t, phxtest.StartNATS(t), []string{"TRUSTED_PROXIES=127.0.0.1"}, func(t *testing.T, p proxied) {
		t.Parallel()
		for name, data := range map[string]string{"nothing": "", "a piece": "PROXY TCP4 203.0.113.9 ", "a piece of v2": proxyV4("203.0.113.9", "")[:20]} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				conn := p.tcp(t, data)
				if err := conn.SetDeadline(start.Add(11*time.Second + phxtest.Scaled(time.Second))); err != nil {
					t.Fatal(err)
				}
				wantCut(t, conn)
				if took := time.Since(start); took < 5*time.Second {
					t.Errorf("closed after %v, want 10 s", took)
				}
			})
		}
	})
}

// Who is no trusted proxy is served without a header, and one that comes all the same is a bad request.
func TestProxyHeaderUntrusted(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	requests := allowEach(connectBackend(t, url))
	eachProxied(t, url, []string{"TRUSTED_PROXIES=10.0.0.0/8"}, func(t *testing.T, p proxied) {
		phxtest.Dial(t, p.url, append(p.options, phxtest.Header("X-Forwarded-For", "203.0.113.9"))...).Heartbeat()
		wantPeer(t, <-requests, "127.0.0.1")
		for name, header := range map[string]string{"v1": "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n", "v2": proxyV4("203.0.113.9", "")} {
			if p.config != nil { // no TLS hello
				if err := tls.Client(p.tcp(t, header), p.config).Handshake(); err == nil {
					t.Errorf("%s: a TLS handshake behind the header went well", name)
				}
				continue
			}
			response, err := http.ReadResponse(bufio.NewReader(p.tcp(t, header+upgradeHead)), nil)
			if err != nil {
				t.Errorf("%s: %v, want 400", name, err)
				continue
			}
			response.Body.Close()
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: status %d, want 400", name, response.StatusCode)
			}
		}
		if n := p.endedFor(t, "proxy_header"); n != 0 {
			t.Errorf("%d connections ended for their header, which nobody looks for", n)
		}
	})
}

// A PROXY header that nobody may send is a contradiction.
func TestProxyProtocolOfNobody(t *testing.T) {
	t.Parallel()
	rules := writeFile(t, "channels.yaml", everything)
	for _, args := range [][]string{nil, {"check-config"}} {
		status, stdout, stderr := runGateway(t, args, "CHANNELS_FILE="+rules, "PROXY_PROTOCOL=true", "LISTEN="+freeAddress(t), "ADMIN_LISTEN="+freeAddress(t))
		if said := stdout + stderr; status != 1 || !strings.Contains(said, "PROXY_PROTOCOL") || !strings.Contains(said, "TRUSTED_PROXIES") {
			t.Errorf("%v: status %d, %q", args, status, said)
		}
	}
}
