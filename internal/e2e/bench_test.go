package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// bench is where a test tries what the docs say: a NATS server, presence-svc and a gateway.
type bench struct {
	t     *testing.T
	nats  *server.Server
	nc    *nats.Conn
	rules string // a file
	addr  string // of the gateway "main"
}

// startBench starts a bench with these channel rules, which ends with the test.
func startBench(t *testing.T, rules string) *bench {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(2 * phxtest.Patience()) {
		t.Fatal("the NATS server is not ready")
	}
	b := &bench{t: t, nats: s, nc: dialNATS(t, s.ClientURL()), rules: filepath.Join(t.TempDir(), "channels.yaml")}
	if err := os.WriteFile(b.rules, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePorts(t, 1)
	startProgram(t, "presence-svc", nil, "NATS_URL="+s.ClientURL(), "ADMIN_LISTEN="+local(port))
	waitForOK(t, "http://"+local(port)+"/readyz")
	b.addr = b.gateway("main").addr
	return b
}

// gatewayProcess is a gateway and where its clients connect.
type gatewayProcess struct {
	*process
	addr string
}

// gateway starts a gateway and waits until it is ready.
func (b *bench) gateway(id string) gatewayProcess {
	b.t.Helper()
	port := freePorts(b.t, 2)
	p := startProcess(b.t, nil, "NATS_URL="+b.nats.ClientURL(), "CHANNELS_FILE="+b.rules, "GATEWAY_ID="+id, "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+1))
	waitForOK(b.t, "http://"+local(port+1)+"/readyz")
	return gatewayProcess{p, local(port)}
}

// subscribe returns a function that waits for one message.
func (b *bench) subscribe(subject string) (next func() *nats.Msg) {
	b.t.Helper()
	sub, err := b.nc.SubscribeSync(subject)
	if err != nil {
		b.t.Fatal(err)
	}
	flush(b.t, b.nc)
	return func() *nats.Msg {
		b.t.Helper()
		msg, err := sub.NextMsg(2 * phxtest.Patience())
		if err != nil {
			b.t.Fatalf("%s: %v", subject, err)
		}
		_ = sub.Unsubscribe() // one is all that is wanted
		return msg
	}
}
