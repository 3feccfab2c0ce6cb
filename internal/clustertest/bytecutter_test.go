package clustertest

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// cutReads is how many bytes of what came together wait for each other: as many as most messages have. Behind them only the writes are cut, which keeps a run short.
const cutReads = 128

// cutPatience is how long a byte of a transcript waits for the last one: a kernel may hold back an acknowledgement for 40 ms and more.
const cutPatience = 100 * time.Microsecond

// byteCutter stands in front of a server until the test ends. It writes every byte that it carries by itself, both ways, so that whoever reads meets frames, heads and
// TLS records cut anywhere. Where the kernel tells (Linux), the next byte waits until the last was received, for no longer than patience, so that the reads are cut, not only the writes.
func byteCutter(t *testing.T, target string, patience time.Duration) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { cutConnection(ctx, client.(*net.TCPConn), target, patience) })
		}
	})
	return ln.Addr().String()
}

// cutConnection carries one connection until both directions have ended, or ctx.
func cutConnection(ctx context.Context, client *net.TCPConn, target string, patience time.Duration) {
	defer client.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})()
	var directions sync.WaitGroup
	directions.Go(func() { carryBytes(client, server, patience) })
	directions.Go(func() { carryBytes(server, client, patience) })
	directions.Wait()
}

// carryBytes carries one direction until it ends, and hands the end on: a reset as a reset.
func carryBytes(from, to *net.TCPConn, patience time.Duration) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		for i := range n {
			if _, err := to.Write(buf[i : i+1]); err != nil { // Go sets TCP_NODELAY
				abort(from)
				return
			}
			if i < cutReads {
				waitReceived(to, patience)
			}
		}
		if err == io.EOF {
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			abort(to)
			return
		}
	}
}

func TestByteCutter(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.DialTimeout("tcp", byteCutter(t, ln.Addr().String(), time.Second), phxtest.Patience())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	sent := make([]byte, cutReads)
	for i := range sent {
		sent[i] = byte(i)
	}
	for _, way := range []struct {
		name     string
		from, to net.Conn
	}{{"to the server", client, server}, {"to the client", server, client}} {
		if _, err := way.from.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := way.from.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		received, alone := readPieces(t, way.to)
		if !slices.Equal(received, sent) {
			t.Errorf("%s: %d bytes sent, %d others received", way.name, len(sent), len(received))
		}
		if tellsReceived && alone < len(sent)/2 {
			t.Errorf("%s: %d of %d bytes were read alone", way.name, alone, len(sent))
		}
	}
}

// readPieces reads c to its end, and counts the reads that brought one byte.
func readPieces(t *testing.T, c net.Conn) (all []byte, alone int) {
	t.Helper()
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if n == 1 {
			alone++
		}
		if err == io.EOF {
			return all, alone
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
