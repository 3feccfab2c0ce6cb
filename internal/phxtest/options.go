package phxtest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"
)

// Option changes how Dial connects or how the client behaves after.
type Option func(*config)

type config struct {
	name       string
	log        *Log
	dialer     ws.Dialer
	header     http.Header
	paused     bool
	closeReply bool
}

func newConfig(opts []Option) config {
	c := config{name: "client", closeReply: true, header: http.Header{}}
	for _, opt := range opts {
		opt(&c)
	}
	if c.log == nil {
		c.log = new(Log)
	}
	if c.dialer.Timeout == 0 {
		c.dialer.Timeout = Patience()
	}
	c.dialer.Header = ws.HandshakeHeaderHTTP(c.header)
	return c
}

// Name is what the transcript calls the client ("client" without it).
func Name(name string) Option { return func(c *config) { c.name = name } }

// WithLog has the client write its lines into a transcript that others write
// into too.
func WithLog(log *Log) Option { return func(c *config) { c.log = log } }

// Protocols are the subprotocols to offer, in order of preference.
func Protocols(names ...string) Option {
	return func(c *config) { c.dialer.Protocols = append(c.dialer.Protocols, names...) }
}

// Header adds a header to the handshake; the same name may come several times.
func Header(name, value string) Option {
	return func(c *config) { c.header[name] = append(c.header[name], value) }
}

// NetDial connects by other means than net.Dialer, for example from a chosen
// source address or through something that breaks.
func NetDial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) { c.dialer.NetDial = dial }
}

// TLS is the configuration for a "wss" URL.
func TLS(t *tls.Config) Option { return func(c *config) { c.dialer.TLSConfig = t } }

// HandshakeTimeout bounds connect and handshake together; without it they have
// Patience.
func HandshakeTimeout(d time.Duration) Option { return func(c *config) { c.dialer.Timeout = d } }

// Paused opens a client that reads nothing until Resume: the slow client.
func Paused() Option { return func(c *config) { c.paused = true } }

// NoCloseReply opens a client that leaves a close frame unanswered, which
// RFC 6455 §5.5.1 forbids: the server must end the connection by itself.
func NoCloseReply() Option { return func(c *config) { c.closeReply = false } }
