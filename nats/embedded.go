package nats

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Embedded is a NATS server with JetStream in this process: for `gateway dev` and for trials. It listens, so that any NATS client can join in.
type Embedded struct{ srv *server.Server }

// embeddedReady bounds how long the server may take to start; it takes milliseconds.
const embeddedReady = 10 * time.Second

// StartEmbedded starts a server that keeps its streams in dir. port 0 takes a free one.
func StartEmbedded(host string, port int, dir string) (*Embedded, error) {
	if port == 0 {
		port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "phxgate-dev", Host: host, Port: port, JetStream: true, StoreDir: filepath.Clean(dir),
		JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 1 << 30, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(embeddedReady) {
		srv.Shutdown()
		return nil, errors.New("embedded NATS server: not ready; is its port in use?")
	}
	return &Embedded{srv}, nil
}

// URL is where clients reach the server.
func (e *Embedded) URL() string { return e.srv.ClientURL() }

// Stop ends the server.
func (e *Embedded) Stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}
