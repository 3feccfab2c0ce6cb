package clustertest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// byteCutter stands in front of a server and writes every byte that it carries by itself, both ways, so that whoever reads meets frames, heads and records cut anywhere.
func byteCutter(t *testing.T, target string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.Map // of net.Conn
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			conns.Store(client, nil)
			conns.Store(server, nil)
			running.Go(func() { carryBytes(client, server); conns.Delete(server) })
			running.Go(func() { carryBytes(server, client); conns.Delete(client) })
		}
	})
	return ln.Addr().String()
}

// carryBytes carries one direction until it ends, and hands the end on: a reset as a reset.
func carryBytes(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		for i := range n {
			if _, err := to.Write(buf[i : i+1]); err != nil { // Go sets TCP_NODELAY
				from.Close()
				return
			}
		}
		if err == io.EOF {
			to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			to.(*net.TCPConn).SetLinger(0)
			to.Close()
			return
		}
	}
}
