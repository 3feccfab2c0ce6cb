package clustertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// backend is a plain NATS connection, as any service behind the gateways has.
func backend(t testing.TB, url string) *natsgo.Conn {
	t.Helper()
	nc, err := natsgo.Connect(url, natsgo.Timeout(phxtest.Patience()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// listen subscribes without a bound; the subscription is in force at the server.
func listen(t testing.TB, nc *natsgo.Conn, subject string) *natsgo.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.FlushTimeout(phxtest.Patience())
	}
	if err != nil {
		t.Fatalf("subscribe %s: %v", subject, err)
	}
	return sub
}

func publish(t testing.TB, nc *natsgo.Conn, subject, envelope string) {
	t.Helper()
	if err := nc.Publish(subject, []byte(envelope)); err != nil {
		t.Fatalf("publish %s: %v", subject, err)
	}
}

// certificate makes a certificate for 127.0.0.1, and what trusts it.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

// overBoth runs a test over plain TCP, where sockets are descriptors of an event loop, and over TLS, where they are streams.
func overBoth(t *testing.T, run func(t *testing.T, server, client *tls.Config)) {
	t.Run("plain", func(t *testing.T) { run(t, nil, nil) })
	t.Run("tls", func(t *testing.T) {
		server, client := certificate(t)
		run(t, server, client)
	})
}

// front is a TCP relay before one gateway, which can vanish as a killed process does: every connection is reset at once, and no other is taken. To its clients
// the gateway is gone then, though it still runs.
type front struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	dead  bool
	conns []*net.TCPConn
}

func startFront(t testing.TB, target string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{listener: l, target: target}
	f.work.Go(f.accept)
	t.Cleanup(f.Kill)
	return f
}

// URL is the WebSocket URL of the gateway behind.
func (f *front) URL() string {
	return "ws://" + f.listener.Addr().String() + "/socket/websocket?vsn=2.0.0"
}

func (f *front) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", f.target)
		if err != nil {
			client.Close()
			continue
		}
		a, b := client.(*net.TCPConn), server.(*net.TCPConn)
		f.mu.Lock()
		f.conns = append(f.conns, a, b)
		dead := f.dead
		f.mu.Unlock()
		if dead {
			reset(a)
			reset(b)
			continue
		}
		for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
			f.work.Go(func() {
				// An error is the end of one side, which is passed on.
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].CloseWrite()
			})
		}
	}
}

// Kill cuts every connection without a word, and returns when all is gone.
func (f *front) Kill() {
	f.mu.Lock()
	f.dead = true
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	f.listener.Close()
	for _, c := range conns {
		reset(c)
	}
	f.work.Wait()
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // it may be closed already
	_ = c.Close()
}

// metrics reads a gateway's counters.
type metrics struct{ reader *sdkmetric.ManualReader }

func registerMetrics(t testing.TB, g *Gateway) metrics {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	if err := g.Server.RegisterMetrics(provider.Meter("test")); err != nil {
		t.Fatal(err)
	}
	return metrics{reader}
}

// value sums a metric's points: those of one cause why sockets end, or, with cause "", all.
func (m metrics) value(t testing.TB, name, cause string) (sum int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := m.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if metric.Name != name {
				continue
			}
			var points []metricdata.DataPoint[int64]
			switch data := metric.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, p := range points {
				got, _ := p.Attributes.Value("cause")
				if cause == "" || got.AsString() == cause {
					found = true
					sum += p.Value
				}
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s of cause %q", name, cause)
	}
	return sum
}
