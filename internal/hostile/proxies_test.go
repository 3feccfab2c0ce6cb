package hostile

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// proxyAddr is the trusted proxy; the innocents come from elsewhere, 127.0.0.1, and send no PROXY header.
const proxyAddr = "127.0.0.2"

// PROXY headers of a TCP connection (proxy-protocol.txt §2.1, §2.2).
const (
	proxyV1 = "PROXY TCP4 203.0.113.9 10.0.0.1 56881 443\r\n"
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x0a\x00\x00\x01\xde\x31\x01\xbb"
)

// proxyClasses come from a trusted proxy that has gone mad, or from somebody who took its address.
func proxyClasses() []class {
	return []class{{"PROXY headers", func(cfg *gateway.Config) {
		cfg.ProxyProtocol, cfg.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix(proxyAddr + "/32")}
	}, proxyHeaders}}
}

// proxyHeaders are none, broken, endless or too long: the connection is aborted. Two of them are a bad request, and a good one is served.
func proxyHeaders(a *arena, v variant) (end func()) {
	r := a.dialAsProxy()
	head := upgradeHead("/socket/websocket?vsn=2.0.0")
	header := []string{proxyV1, proxyV2}[v.r.IntN(2)]
	broken := func(data string) func() {
		if r.tryPieces(v.r, data) != nil {
			return nil // aborted already
		}
		return r.wantAborted
	}
	switch v.n % 8 {
	case 0:
		return broken([]string{head, clientHello(a), "\x00" + randomBytes(v.r, v.r.IntN(200))}[v.r.IntN(3)])
	case 1: // a field is missing
		return broken(proxyV1[:6+v.r.IntN(strings.LastIndex(proxyV1, " ")-5)] + "\r\n" + head)
	case 2: // version, command, family or length
		at := 12 + v.r.IntN(3)
		return broken(proxyV2[:at] + "\xf7" + proxyV2[at+1:] + head)
	case 3:
		return broken("PROXY UNKNOWN " + strings.Repeat("f", 93+v.r.IntN(100_000)))
	case 4:
		return broken(proxyV2[:14] + "\x11" + randomBytes(v.r, 1+v.r.IntN(5000)))
	case 5:
		r.write(header[:len(header)-1])
		began := time.Now()
		return func() {
			a.Helper()
			if err := r.conn.SetReadDeadline(began.Add(15 * time.Second)); err != nil {
				a.fail("deadline: %v", err)
			}
			b, err := r.in.ReadByte()
			if timeout, ok := errors.AsType[net.Error](err); err == nil || ok && timeout.Timeout() {
				a.fail("byte %x and %v, want the end within 10 s", b, err)
			}
			r.conn.Close()
		}
	case 6:
		r.writePieces(v.r, header+header+head)
		return func() { r.wantStatus(http.StatusBadRequest) }
	}
	r.writePieces(v.r, header+head)
	return func() {
		r.wantStatus(http.StatusSwitchingProtocols)
		r.wantServed()
		r.conn.Close()
	}
}

// dialAsProxy connects from the trusted proxy's address.
func (a *arena) dialAsProxy() *raw {
	a.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(proxyAddr)}, Timeout: phxtest.Patience()}
	conn, err := d.Dial("tcp", a.cluster.Gateways[0].Addr)
	if err != nil {
		a.fail("dial: %v", err)
	}
	return a.adopt(conn.(*net.TCPConn))
}

// tryPieces writes in pieces of random sizes to a connection that the gateway may end meanwhile.
func (r *raw) tryPieces(rnd *rand.Rand, data string) error {
	for data != "" {
		n := 1 + rnd.IntN(len(data))
		if err := r.try(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
