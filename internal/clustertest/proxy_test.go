package clustertest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestProxyHeader: sockets behind a PROXY header are served on every kind of connection, and a drain does not wait for headers that do not come.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	const header = "PROXY TCP4 203.0.113.9 10.0.0.1 56881 443\r\n"
	dial := func(t *testing.T, g *Gateway, first string) net.Conn {
		t.Helper()
		conn, err := net.DialTimeout("tcp", g.Addr, phxtest.Patience())
		if err == nil {
			_, err = conn.Write([]byte(first))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	test := func(t *testing.T, opts Options, client *tls.Config) {
		opts.Config = func(cfg *gateway.Config) {
			cfg.ProxyProtocol, cfg.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		c := Start(t, opts)
		g := c.Gateways[0]
		d := c.Dial(0, phxtest.TLS(client), phxtest.NetDial(func(context.Context, string, string) (net.Conn, error) { return dial(t, g, header), nil }))
		d.Join("room:1", struct{}{})
		silent := []net.Conn{dial(t, g, ""), dial(t, g, header[:20])}
		began := time.Now()
		g.Drain()
		if took := time.Since(began); took > phxtest.Scaled(2*time.Second) {
			t.Errorf("the drain took %v", took)
		}
		d.WantClosed(1012)
		for _, conn := range silent {
			if err := conn.SetReadDeadline(time.Now().Add(phxtest.Patience())); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(make([]byte, 1))
			if timeout, ok := errors.AsType[net.Error](err); n > 0 || ok && timeout.Timeout() {
				t.Errorf("a silent connection: %d bytes, %v, want the end", n, err)
			}
		}
	}
	overBoth(t, func(t *testing.T, server, client *tls.Config) { test(t, Options{TLS: server}, client) })
	t.Run("streams", func(t *testing.T) { test(t, Options{Killable: true}, nil) })
}
