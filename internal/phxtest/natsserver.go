package phxtest

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// StartNATS runs a NATS server with JetStream on a free port of 127.0.0.1
// until the test ends, and returns its URL.
func StartNATS(t testing.TB) string {
	t.Helper()
	s := startServer(t, serverOptions(t))
	return s.ClientURL()
}

func serverOptions(t testing.TB) *server.Options {
	return &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 1 << 30,
	}
}

// startServer starts a server that stops when the test ends.
func startServer(t testing.TB, options *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatalf("NATS server: %v", err)
	}
	s.Start()
	t.Cleanup(func() { stopServer(s) })
	if !s.ReadyForConnections(2 * Patience()) {
		t.Fatalf("NATS server %s: not ready for connections", s.Name())
	}
	return s
}

// stopServer may be called again on a server that has stopped.
func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}
