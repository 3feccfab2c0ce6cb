package hostile

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// FuzzHead sends any bytes as a request head, in two pieces. The gateway never panics; it answers each head with one of the statuses there are, and lets the
// connection go.
func FuzzHead(f *testing.F) {
	for _, table := range []func() []head{wrongOrigins, paths, smuggling} {
		for _, h := range table() {
			f.Add([]byte(h.text), uint16(len(h.text)/2))
		}
	}
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), uint16(1))
	f.Add([]byte(strings.Repeat("GET ", 10_000)), uint16(4))
	c := clustertest.Start(f, clustertest.Options{})
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if len(data) > 100_000 {
			t.Skip()
		}
		if !strings.Contains(string(data), "\r\n\r\n") {
			data = append(data, "\r\n\r\n"...) // else it takes 10 s
		}
		conn, err := net.Dial("tcp", c.Gateways[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		tcp := conn.(*net.TCPConn)
		defer tcp.Close()
		defer func() { _ = tcp.SetLinger(0) }() // thousands of connections would leave no port
		if err := tcp.SetDeadline(time.Now().Add(phxtest.Patience())); err != nil {
			t.Fatal(err)
		}
		at := min(int(cut), len(data))
		for _, piece := range [][]byte{data[:at], data[at:]} {
			if _, err := tcp.Write(piece); err != nil {
				t.Fatalf("write: %v", err)
			}
		}
		in := bufio.NewReader(tcp)
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if !slices.Contains([]int{101, 400, 403, 404, 431}, response.StatusCode) {
			t.Fatalf("status %d", response.StatusCode)
		}
		// Frames and bodies follow, if any, and, at the latest when the client's side ends, the end. It may be closed already.
		if err := tcp.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Fatalf("after status %d: %v", response.StatusCode, err)
		}
	})
}
