//go:build linux

package ceilings

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestIdleMemory says what an idle socket that has joined a topic of its own costs the gateway: as a descriptor of an event loop, and with TLS, where it is a stream.
func TestIdleMemory(t *testing.T) {
	binary := buildGateway(t)
	cert := phxtest.WriteCertificate(t, t.TempDir(), 1)
	for _, way := range []struct {
		name     string
		bound    int64 // bytes a socket
		settings []string
		client   *tls.Config
	}{
		{"plain", 6 << 10, nil, nil},
		{"TLS", 26 << 10, []string{"TLS_CERT_FILE=" + cert.CertFile, "TLS_KEY_FILE=" + cert.KeyFile}, &tls.Config{RootCAs: cert.Pool}},
	} {
		t.Run(way.name, func(t *testing.T) {
			n := sized(6000)
			g := startGateway(t, binary, phxtest.StartNATS(t), channelRules, way.settings...)
			before, _ := g.memory(t)
			for i, conn := range dialIdle(t, g.addr, way.client, n) {
				if conn == nil {
					t.Fatalf("socket %d is not joined", i)
				}
			}
			g.waitIdle(t)
			after, _ := g.memory(t)
			each := (after - before) / int64(n)
			t.Logf("%s: %d idle joined sockets: %d bytes of resident memory each", way.name, n, each)
			if each > way.bound && !small() {
				t.Errorf("%d bytes a socket, want no more than %d", each, way.bound)
			}
		})
	}
}

// waitIdle waits until the gateway uses no processor for a while: what connecting and joining left to do is done.
func (g *gateway) waitIdle(t *testing.T) {
	t.Helper()
	last := g.cpu(t).gateway
	for range 20 {
		<-time.After(500 * time.Millisecond)
		now := g.cpu(t).gateway
		if now-last < 10*time.Millisecond {
			return
		}
		last = now
	}
}

// dialIdle opens and joins n sockets, 16 at a time; they are closed when the test ends.
func dialIdle(t *testing.T, addr string, config *tls.Config, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	var work sync.WaitGroup
	next := make(chan int)
	for range 16 {
		work.Go(func() {
			for i := range next {
				c, err := joinIdle(addr, config, i)
				if err != nil {
					t.Errorf("socket %d: %v", i, err)
					continue
				}
				conns[i] = c
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	work.Wait()
	return conns
}

// joinIdle opens one socket and joins a topic of its own.
func joinIdle(addr string, config *tls.Config, i int) (c net.Conn, err error) {
	if config == nil {
		c, err = net.Dial("tcp", addr)
	} else {
		c, err = tls.Dial("tcp", addr, config)
	}
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(4 * phxtest.Patience())); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, upgradeRequest); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, 512)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	if _, err := c.Write(joinMessage(fmt.Sprintf("room:%d", i))); err != nil {
		return nil, err
	}
	f, err := readMessage(r)
	if err == nil && !strings.Contains(string(f.payload), `"ok"`) {
		err = fmt.Errorf("join: %s", f.payload)
	}
	return c, err
}
