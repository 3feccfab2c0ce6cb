package balancer

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

const anyPort = "127.0.0.1:0"

// unusedAddr returns an address on which nobody listens.
func unusedAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestConnectionsAreDistributed(t *testing.T) {
	a, b, c := startBackend(t, anyPort), startBackend(t, anyPort), startBackend(t, anyPort)
	h := serve(t, a.addr, b.addr, c.addr)
	byBackend := make(map[string][]*testClient)
	for range 9 {
		client, addr := h.dialBackend()
		byBackend[addr] = append(byBackend[addr], client)
	}
	for _, backend := range []*testBackend{a, b, c} {
		if got := len(byBackend[backend.addr]); got != 3 {
			t.Errorf("%s serves %d connections, want 3", backend.addr, got)
		}
	}

	// Two of b's end: the next two go there, the third goes round again.
	byBackend[b.addr][0].Close()
	byBackend[b.addr][1].Close()
	h.waitForStat(BackendStat{Addr: b.addr, Up: true, Open: 1})
	for range 2 {
		if _, addr := h.dialBackend(); addr != b.addr {
			t.Errorf("served by %s, want %s, which has the fewest", addr, b.addr)
		}
	}
}

func TestShortConnectionsGoRound(t *testing.T) {
	a, b := startBackend(t, anyPort), startBackend(t, anyPort)
	h := serve(t, a.addr, b.addr)
	var order []string
	for range 4 {
		client, addr := h.dialBackend()
		order = append(order, addr)
		client.Close()
		h.waitForStat(BackendStat{Addr: addr, Up: true, Open: 0})
	}
	if got, want := strings.Join(order, " "), strings.Join([]string{a.addr, b.addr, a.addr, b.addr}, " "); got != want {
		t.Errorf("served by %s, want %s", got, want)
	}
}

func TestKilledBackend(t *testing.T) {
	a, b := startBackend(t, anyPort), startBackend(t, anyPort)
	h := serve(t, a.addr, b.addr)
	first, firstAddr := h.dialBackend()
	second, secondAddr := h.dialBackend()
	if firstAddr != a.addr || secondAddr != b.addr {
		t.Fatalf("served by %s and %s, want %s and %s", firstAddr, secondAddr, a.addr, b.addr)
	}

	a.kill()
	first.wantEnd()
	for range 3 {
		if _, addr := h.dialBackend(); addr != b.addr {
			t.Errorf("served by %q, want %s, the one left", addr, b.addr)
		}
	}
	second.mustWrite("still here\n")
	second.wantLine("still here")
	h.waitForStat(BackendStat{Addr: b.addr, Up: true, Open: 4})

	first.Close() // only now: its own direction was still open
	h.waitForStat(BackendStat{Addr: a.addr, Up: false, Open: 0})
}

func TestBackendComesBack(t *testing.T) {
	a, b := startBackend(t, anyPort), startBackend(t, anyPort)
	h := serve(t, a.addr, b.addr)
	a.kill()
	h.dialBackend()
	h.dialBackend() // one of the two tried a
	h.waitForStat(BackendStat{Addr: a.addr, Up: false, Open: 0})

	startBackend(t, a.addr)
	h.waitForStat(BackendStat{Addr: a.addr, Up: true, Open: 0})
	if _, addr := h.dialBackend(); addr != a.addr {
		t.Errorf("served by %s, want %s, which is back and has the fewest", addr, a.addr)
	}
}

func TestNoBackend(t *testing.T) {
	addr := unusedAddr(t)
	h := serve(t, addr)
	for range 2 { // the first finds it down, the second knows
		h.dial().wantEnd()
	}
	h.waitForStat(BackendStat{Addr: addr, Up: false, Open: 0})

	startBackend(t, addr)
	h.waitForStat(BackendStat{Addr: addr, Up: true, Open: 0})
	if _, got := h.dialBackend(); got != addr {
		t.Errorf("served by %q, want %s", got, addr)
	}
}

func TestNoBackendsAtAll(t *testing.T) {
	h := serve(t)
	h.dial().wantEnd()
	if got := h.Stats(); len(got) != 0 {
		t.Errorf("stats are %+v, want none", got)
	}
}

func TestHalfClose(t *testing.T) {
	a := startBackend(t, anyPort)
	h := serve(t, a.addr)
	client, _ := h.dialBackend()
	client.mustWrite("hello\n")
	if err := client.CloseWrite(); err != nil {
		t.Fatalf("close write: %v", err)
	}
	client.wantLine("hello")
	client.wantLine("bye") // what the backend says once it has seen the end
	client.wantEnd()
	h.waitForStat(BackendStat{Addr: a.addr, Up: true, Open: 0})
}

func TestLargeTransfer(t *testing.T) {
	a := startBackend(t, anyPort)
	h := serve(t, a.addr)
	client, _ := h.dialBackend()
	line := strings.Repeat("x", 1<<20)
	wrote := make(chan error, 1)
	go func() {
		_, err := client.Write([]byte(line + "\n"))
		wrote <- err
	}()
	client.wantLine(line)
	if err := <-wrote; err != nil {
		t.Errorf("write: %v", err)
	}
}

// A goroutine left over fails TestMain, and Serve would not return while one runs.
func TestEndOfContextClosesConnections(t *testing.T) {
	a := startBackend(t, anyPort)
	h := serve(t, a.addr, unusedAddr(t))
	var clients []*testClient
	for range 4 {
		client, _ := h.dialBackend()
		clients = append(clients, client)
	}
	if err := h.stop(); err != nil {
		t.Fatalf("Serve: %v, want nil", err)
	}
	for _, client := range clients {
		client.wantEnd()
	}
	if got := h.Stats()[0].Open; got != 0 {
		t.Errorf("%d connections are open after Serve returned", got)
	}
	if conn, err := net.Dial("tcp", h.addr); err == nil {
		conn.Close()
		t.Error("the listener is still open after Serve returned")
	}
}

func TestBrokenListenerEndsServe(t *testing.T) {
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	ln.Close()
	if err := New(nil, nil).Serve(context.Background(), ln); err == nil {
		t.Error("Serve returned nil for a listener that is closed")
	}
}

func TestPoolKeepsTheDownAway(t *testing.T) {
	p := newPool([]string{"a", "b"})
	now := time.Unix(1000, 0)
	a, b := p.backends[0], p.backends[1]
	if !p.markDown(a, now.Add(downFor)) || p.markDown(a, now.Add(downFor)) {
		t.Error("markDown must report the first time only")
	}
	if got := p.acquire(now, nil); got != b {
		t.Error("acquired a backend that is down")
	}
	if got := p.acquire(now, map[*backend]bool{b: true}); got != nil {
		t.Error("acquired a backend though all are tried or down")
	}
	if got := p.acquire(now.Add(downFor), nil); got != a {
		t.Error("a backend must be tried again when its time is over")
	}
	if got := p.down(); len(got) != 1 || got[0] != a {
		t.Error("a backend stays to be probed until a dial reached it")
	}
	if !p.markUp(a) || p.markUp(a) || len(p.down()) != 0 {
		t.Error("markUp must report the first time only, and end the probes")
	}
}
