package contracttest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// greeter is as much of a NATS server as a connection needs: it says INFO with
// a version and answers PING.
type greeter struct {
	listener net.Listener
	wait     sync.WaitGroup // one for the listener and one for each connection

	mu      sync.Mutex // guards what follows
	version string
	conns   []net.Conn
}

func startGreeter(t *testing.T, version string) *greeter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greeter{listener: listener, version: version}
	g.wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.conns = append(g.conns, conn)
			version := g.version
			g.mu.Unlock()
			g.wait.Go(func() { greet(conn, version) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		g.become("")
		g.wait.Wait()
	})
	return g
}

// greet serves one connection until it is closed.
func greet(conn net.Conn, version string) {
	defer conn.Close()
	fmt.Fprintf(conn, `INFO {"server_id":"X","server_name":"x","version":%q,"proto":1,"headers":true,"max_payload":1048576}`+"\r\n", version)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "PING" {
			fmt.Fprint(conn, "PONG\r\n")
		}
	}
}

// become ends all connections; those that come have another version.
func (g *greeter) become(version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version = version
	for _, conn := range g.conns {
		conn.Close()
	}
	g.conns = nil
}

// TestNATSServerTooOld: a gateway on a server that is too old runs, not ready,
// and says so once for each server and version.
func TestNATSServerTooOld(t *testing.T) {
	t.Parallel()
	server := startGreeter(t, "2.10.3")
	g := launchGateway(t, "nats://"+server.listener.Addr().String(), everything)
	for _, step := range []struct {
		version string
		old     bool
	}{
		{"2.10.3", true}, {"2.11.0-beta.1", false}, {"2.9.25", true}, {"v2.12.1", false}, {"v1.4.1", true}, {"2.11.0", false},
		{"2.10.3", true}, {"3.0.0", false}, {"2.10.29-RC.1", true}, {"2.15.2", false}, {"2.2", true}, {"unknown", false},
	} {
		server.become(step.version)
		if step.old {
			wantUnready(g, "NATS server "+step.version+" is too old: 2.11 or later is needed")
		} else {
			g.waitForReady(http.StatusOK)
		}
	}
	for _, version := range []string{"2.10.3", "2.9.25", "v1.4.1", "2.10.29-RC.1", "2.2"} {
		lines := 0
		for line := range strings.Lines(g.stderr.String()) {
			if strings.Contains(line, "NATS server "+version+" is too old") {
				lines++
				if !strings.Contains(line, "ERROR") {
					t.Errorf("not an error: %s", line)
				}
			}
		}
		if lines != 1 {
			t.Errorf("%d lines say that %s is too old, want 1", lines, version)
		}
	}
}
