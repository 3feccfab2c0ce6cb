package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// FuzzProxyHeader feeds any bytes of a trusted proxy whole and in two pieces: it never panics, the cut makes no difference, a stream takes them for the same, and
// what the library says of all of them at once holds.
func FuzzProxyHeader(f *testing.F) {
	for _, c := range proxyHeaders {
		f.Add([]byte(c.header+"GET / HTTP/1.1\r\n"), uint16(len(c.header)/2))
	}
	f.Add([]byte("PROXY UNKNOWN "+strings.Repeat("x", 200)+"\r\n"), uint16(107))
	f.Add([]byte(localV2+"\x00\xff\xff"), uint16(15))
	l := proxiedLoop(f)
	l.srv.shut.Store(true) // a head that is good asks nobody
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if len(data) > 20_000 {
			t.Skip()
		}
		whole, _ := adoptFrom(l, proxyAddr)
		l.feed(whole, bytes.Clone(data))
		parts, _ := adoptFrom(l, proxyAddr)
		at := min(int(cut), len(data))
		for _, piece := range [][]byte{data[:at], data[at:]} {
			if parts.state != gone {
				l.feed(parts, bytes.Clone(piece))
			}
		}
		if whole.state != parts.state || whole.peer != parts.peer {
			t.Errorf("whole: state %d, peer %v; cut at %d: state %d, peer %v", whole.state, whole.peer, at, parts.state, parts.peer)
		}
		stream := bytes.NewReader(data)
		client, err := readProxyHeader(stream, proxyAddr)
		if wanted := whole.state == introducing; wanted != (err != nil && !errors.Is(err, errProxyHeader)) {
			t.Errorf("loop: state %d; stream: %v", whole.state, err)
		}
		if refused := whole.state == gone; refused != errors.Is(err, errProxyHeader) {
			t.Errorf("loop: state %d; stream: %v", whole.state, err)
		}
		// The library may take what this package bounds or cannot use, and not the other way round.
		in := bufio.NewReaderSize(bytes.NewReader(data), 32<<10)
		h, libraryErr := proxyproto.Read(in)
		if err == nil && (libraryErr != nil || in.Buffered() != stream.Len() || !h.Command.IsLocal() && client != sourceOf(h)) {
			t.Errorf("client %v, %d bytes left; the library: %+v, %v, %d bytes left", client, stream.Len(), h, libraryErr, in.Buffered())
		}
		for _, s := range []*socket{whole, parts} {
			if s.state != gone {
				l.abort(s, causeClient)
			}
		}
		if n := l.srv.inboundBytes.Load(); n != 0 {
			t.Fatalf("%d bytes are counted though no socket is left", n)
		}
		l.dirty = l.dirty[:0]
		l.mailbox.take(nil)
	})
}

func sourceOf(h *proxyproto.Header) netip.Addr {
	source, _, _ := h.IPs()
	addr, _ := netip.AddrFromSlice(source)
	return addr.Unmap()
}
