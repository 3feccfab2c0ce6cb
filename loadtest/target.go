//go:build linux

package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// clientsPerSource is how many clients connect from one local address to one server: Linux lends about 28,000
// ephemeral ports per pair of addresses (net.ipv4.ip_local_port_range).
const clientsPerSource = 25_000

// target is where a fleet's clients connect and what each says first. Each loop has its own, as
// x/sys/unix writes into an address when it is used.
type target struct {
	family  int
	address unix.Sockaddr
	sources []unix.Sockaddr // one per clientsPerSource clients; empty: the kernel chooses
	request []byte          // the HTTP upgrade request, the same for every client

	// A join is joinHead, then the client's number if numbered, joinTail, the number if the params have it, and joinEnd; all are JSON already.
	joinHead, joinTail, joinEnd []byte
	numbered, paramsNumbered    bool
	rooms                       int32  // the topic's number is the client's modulo this; 0: the client's own
	heartbeat                   []byte // the finished frame
}

// newTarget resolves an endpoint and prepares the bytes that all clients send. total is the number of sockets.
func newTarget(c *config, endpoint string, total int) (*target, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, usagef("--url: %v", err)
	}
	if u.Scheme != "ws" || u.Host == "" {
		return nil, usagef("--url %q: must be ws://host[:port]/path (no TLS)", endpoint)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	resolved, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, usagef("--url %q: %v", endpoint, err)
	}
	server := resolved.AddrPort()
	server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
	t := &target{address: sockaddr(server), family: unix.AF_INET, request: upgradeRequest(u)}
	if server.Addr().Is6() {
		t.family = unix.AF_INET6
	}
	if err := t.setSources(c.sources, server.Addr(), total); err != nil {
		return nil, err
	}
	t.setMessages(c)
	return t, nil
}

// setSources picks the local addresses for total clients.
func (t *target) setSources(given []string, server netip.Addr, total int) error {
	needed := (total + clientsPerSource - 1) / clientsPerSource
	var local []netip.Addr
	for _, s := range given {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Is6() != server.Is6() {
			return usagef("--source %q: not an address of the server's family", s)
		}
		local = append(local, a)
	}
	if len(given) == 0 && needed > 1 && server.Is4() && server.IsLoopback() {
		for a := netip.AddrFrom4([4]byte{127, 0, 0, 1}); len(local) < needed; a = a.Next() {
			local = append(local, a)
		}
	}
	if needed > max(1, len(local)) {
		return usagef("%d clients need %d local addresses (%d each): add --source", total, needed, clientsPerSource)
	}
	for _, a := range local {
		t.sources = append(t.sources, sockaddr(netip.AddrPortFrom(a, 0)))
	}
	return nil
}

// source is the local address for a client, nil where the kernel may choose.
func (t *target) source(number int32) unix.Sockaddr {
	if len(t.sources) == 0 {
		return nil
	}
	return t.sources[int(number)%len(t.sources)]
}

// setMessages encodes the join and the heartbeat (Phoenix 1.8 serializers/v2_json_serializer.ex).
func (t *target) setMessages(c *config) {
	head, tail, numbered := strings.Cut(c.topic, "%d")
	t.numbered = numbered
	t.joinHead = append([]byte(`["`+joinRef+`","`+joinRef+`","`), jsonText(head)...)
	params, end, paramsNumbered := strings.Cut(c.params, "%d")
	t.paramsNumbered, t.rooms = paramsNumbered, int32(c.rooms)
	t.joinTail = append(jsonText(tail), `","phx_join",`+params...)
	t.joinEnd = []byte(end + `]`)
	t.heartbeat = appendFrame(nil, opText, true, []byte(`[null,"`+heartbeatRef+`","phoenix","heartbeat",{}]`))
}

// appendJoin appends the frame by which a client joins its topic.
func (t *target) appendJoin(dst []byte, number int32) []byte {
	text := append(make([]byte, 0, 256), t.joinHead...)
	if t.numbered {
		topic := number
		if t.rooms > 0 {
			topic %= t.rooms
		}
		text = strconv.AppendInt(text, int64(topic), 10)
	}
	text = append(text, t.joinTail...)
	if t.paramsNumbered {
		text = strconv.AppendInt(text, int64(number), 10)
	}
	return appendFrame(dst, opText, true, append(text, t.joinEnd...))
}

// upgradeRequest is the request phoenix.js's transport makes for the endpoint u: the path gets /websocket, vsn comes
// last (Phoenix 1.8 assets/js/phoenix/socket.js, endPointURL).
func upgradeRequest(u *url.URL) []byte {
	query := u.RawQuery
	if query != "" {
		query += "&"
	}
	return []byte("GET " + strings.TrimSuffix(u.EscapedPath(), "/") + "/websocket?" + query + "vsn=2.0.0 HTTP/1.1\r\n" +
		"Host: " + u.Host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + websocketKey + "\r\nSec-WebSocket-Version: 13\r\n\r\n")
}

// jsonText is s as the inside of a JSON string, without the quotes.
func jsonText(s string) []byte {
	quoted, _ := json.Marshal(s) // a string always encodes
	return quoted[1 : len(quoted)-1]
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
