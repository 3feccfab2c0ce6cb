package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// Sizes of a PROXY header (HAProxy's proxy-protocol.txt, §2.1 and §2.2), in bytes.
const (
	minProxyHeader = len("PROXY UNKNOWN\r\n") // of either version
	maxProxyLine   = 107                      // version 1, line end included
	proxyPreamble  = 16                       // version 2, up to and with the length of the rest
	maxProxyRest   = 4 << 10                  // version 2, addresses and TLVs; the protocol's own bound is 64 KiB, real ones stay below 2
)

// errProxyHeader: what a trusted proxy sent first is no PROXY header, or one that names no client.
var errProxyHeader = errors.New("no valid PROXY header")

// expectsProxyHeader reports whether a connection from an address must begin with a PROXY header.
func (c *Config) expectsProxyHeader(peer netip.Addr) bool { return c.ProxyProtocol && c.trusts(peer) }

// proxyHeaderSize is the size of the PROXY header at the start of b or, where it is more than len(b), how far to read before asking again: never beyond the
// header's end. errProxyHeader: b does not begin with one.
func proxyHeaderSize(b []byte) (int, error) {
	switch {
	case agrees(b, "PROXY "):
		if end := bytes.IndexByte(b[:min(len(b), maxProxyLine)], '\n'); end >= 0 {
			return end + 1, nil
		}
		if len(b) < maxProxyLine {
			return max(len(b)+1, minProxyHeader), nil
		}
		return 0, fmt.Errorf("%w: a line of more than %d bytes", errProxyHeader, maxProxyLine)
	case agrees(b, string(proxyproto.SIGV2)):
		if len(b) < proxyPreamble {
			return proxyPreamble, nil
		}
		rest := int(binary.BigEndian.Uint16(b[proxyPreamble-2:]))
		if rest > maxProxyRest {
			return 0, fmt.Errorf("%w: %d bytes of addresses and TLVs", errProxyHeader, rest)
		}
		return proxyPreamble + rest, nil
	}
	return 0, errProxyHeader
}

// agrees reports whether b begins with the signature, as far as b goes.
func agrees(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

// parseProxyHeader is the client's address that a whole header names; LOCAL and UNKNOWN leave it at peer, the proxy's own. Headers of connections that are not TCP
// name no client here.
func parseProxyHeader(header []byte, peer netip.Addr) (netip.Addr, error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(header), len(header)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	if h.Command.IsLocal() {
		return peer, nil
	}
	if source, _, ok := h.TCPAddrs(); ok {
		if addr, ok := netip.AddrFromSlice(source.IP); ok {
			return addr.Unmap(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: not of a TCP connection", errProxyHeader)
}

// readProxyHeader takes the header off a stream and not a byte of what follows it, a TLS hello perhaps, which others read.
func readProxyHeader(r io.Reader, peer netip.Addr) (netip.Addr, error) {
	var b []byte
	for {
		size, err := proxyHeaderSize(b)
		if err != nil {
			return netip.Addr{}, err
		}
		if size <= len(b) {
			return parseProxyHeader(b[:size], peer)
		}
		// Not ReadFull: what is wrong already need not be waited for.
		b = slices.Grow(b, size-len(b))
		n, err := r.Read(b[len(b):size])
		if b = b[:len(b)+n]; n == 0 && err != nil {
			return netip.Addr{}, err
		}
	}
}

// feedProxyHeader collects the header in the loop; what follows it is the request head.
func (l *loop) feedProxyHeader(s *socket, data []byte) {
	if s.in != nil {
		s.in.buf = append(s.in.buf, data...)
		data = s.in.buf
	}
	size, err := proxyHeaderSize(data)
	if err == nil && size > len(data) {
		if s.in == nil {
			s.keep(l).buf = bytes.Clone(data)
		}
		l.account(s)
		return
	}
	peer := s.peer
	if err == nil {
		peer, err = parseProxyHeader(data[:size], peer)
	}
	l.forget(s)
	l.introduced(s, peer, err)
	if err == nil && size < len(data) {
		l.feedHead(s, data[size:])
	}
}

// introduced goes on when a trusted proxy has said whom it speaks for, or has not.
func (l *loop) introduced(s *socket, peer netip.Addr, err error) {
	if err != nil {
		l.srv.warn("connection of a trusted proxy aborted", "proxy", s.peer, "err", err)
		l.abort(s, causeProxyHeader)
		return
	}
	s.peer, s.state = peer, handshaking
}
