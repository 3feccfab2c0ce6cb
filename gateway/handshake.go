package gateway

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// maxHead bounds the bytes of a request's line and headers. Tokens and cookies fit; a flood does not.
const maxHead = 32 << 10

// headTimeout is how long a handshake may take until the request head is complete.
const headTimeout = 10 * time.Second

// handshake is what is known of a connect while it is decided.
type handshake struct {
	head    []byte          // request line and headers with the blank line
	connect *ConnectRequest // while it is held
	waiter  *waiter         // the same
}

// refusal is an HTTP answer instead of an upgrade.
type refusal struct {
	status int
	text   string        // plain text body; mostly empty, as Phoenix's
	after  time.Duration // beside 503: when to come back, at least a second
}

// feedHead collects the request head and, when it is complete, decides about it.
func (l *loop) feedHead(s *socket, data []byte) {
	in := s.keep(l)
	from := max(0, len(in.buf)-3)
	in.buf = append(in.buf, data...)
	i := bytes.Index(in.buf[from:], []byte("\r\n\r\n"))
	if i < 0 {
		if len(in.buf) > maxHead {
			l.refuse(s, refusal{status: http.StatusRequestHeaderFieldsTooLarge})
			return
		}
		l.account(s)
		return
	}
	end := from + i + 4
	if end > maxHead {
		l.refuse(s, refusal{status: http.StatusRequestHeaderFieldsTooLarge})
		return
	}
	head := in.buf[:end:end]
	rest := in.buf[end:]
	in.buf = append([]byte(nil), rest...)
	in.hs = &handshake{head: head}
	if l.account(s); s.doom != causeNone {
		return
	}

	l.headReader.Reset(bytes.NewReader(head))
	req, err := http.ReadRequest(l.headReader)
	if err != nil || !strictHead(head) || !validHost(req.Host) {
		l.refuse(s, refusal{status: http.StatusBadRequest})
		return
	}
	l.request(s, req, head)
}

// strictHead refuses what net/http's request parser lets pass and gobwas/ws, which reads the head again for the upgrade, may understand otherwise: folded
// lines and field names that are no tokens (RFC 9112 §5.1, §5.2), and a second key (RFC 6455 §11.3.1).
func strictHead(head []byte) bool {
	keys := 0
	lines := bytes.Split(bytes.TrimSuffix(head, []byte("\r\n\r\n")), []byte("\n"))
	for _, line := range lines[1:] {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return !isToken(r) }) {
			return false
		}
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Key")) {
			keys++
		}
	}
	return keys <= 1
}

// isToken reports whether a character may stand in a field name (RFC 9110 §5.6.2).
func isToken(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

// validHost reports whether every character of a Host header may stand in a host and port (RFC 3986 §3.2.2).
func validHost(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"/<>?@\\^`{|}#", r)
	})
}

// request decides about a complete request head in Phoenix's order (Phoenix 1.8 transports/websocket.ex, call/2).
func (l *loop) request(s *socket, req *http.Request, head []byte) {
	cfg := &l.srv.cfg
	path := strings.TrimSuffix(req.URL.EscapedPath(), "/") // a path that spells a letter as an escape is another path
	if path != cfg.SocketPath+"/websocket" {
		if cfg.Handler != nil && !strings.HasPrefix(path+"/", cfg.SocketPath+"/") {
			l.handOver(s, head)
			return
		}
		l.refuse(s, refusal{status: http.StatusNotFound, text: "not found"})
		return
	}
	if l.srv.shut.Load() {
		l.refuse(s, refusal{status: http.StatusServiceUnavailable, text: "draining"})
		return
	}
	connect, serializer, refused := checkRequest(cfg, req, s.peer)
	if refused != nil {
		l.refuse(s, *refused)
		return
	}
	s.serializer = serializer
	if t, ok := traceOf(req.Header); ok {
		l.traces[s] = t
	}
	connect.Trace = l.trace(s)
	if connect.Peer != "" {
		if peer, err := netip.ParseAddr(connect.Peer); err == nil {
			s.peer = peer
		}
	}
	l.admit(s, connect)
}

// connect asks the authorizer.
func (l *loop) connect(s *socket, connect *ConnectRequest) {
	s.state = connecting
	s.deadline = l.after(l.srv.cfg.AuthzTimeout + headTimeout)
	gen := s.gen
	l.srv.authorizer.AuthorizeConnect(connect, func(d *ConnectDecision, err error) {
		l.mailbox.post(mailFunc(func(l *loop) {
			if s.gen == gen && s.state == connecting && s.doom == causeNone {
				l.connectDecided(s, d, err)
			}
		}))
	})
}

// checkRequest makes the checks that need no other service: method, query, origin, token, subprotocol, vsn.
func checkRequest(cfg *Config, req *http.Request, peer netip.Addr) (*ConnectRequest, phx.Serializer, *refusal) {
	if req.Method != http.MethodGet || req.ContentLength > 0 || len(req.TransferEncoding) > 0 {
		return nil, 0, &refusal{status: http.StatusBadRequest}
	}
	params, err := parseQuery(req.URL.RawQuery)
	if err != nil {
		return nil, 0, &refusal{status: http.StatusBadRequest, text: err.Error()}
	}
	if !cfg.CheckOrigin.allows(req) {
		return nil, 0, &refusal{status: http.StatusForbidden}
	}
	token, hasToken, err := subprotocolToken(req.Header["Sec-Websocket-Protocol"])
	if err != nil {
		return nil, 0, &refusal{status: http.StatusForbidden}
	}
	if t, ok := params.stringOf("token"); ok && !hasToken {
		token, hasToken = t, true
	}
	vsn, ok := "1.0.0", true
	if v := params.take("vsn"); v != nil {
		vsn, ok = v.text, v.isText()
	}
	serializer, known := phx.Negotiate(vsn)
	if !ok || !known {
		return nil, 0, &refusal{status: http.StatusForbidden}
	}
	r := &ConnectRequest{
		Transport: "websocket", Vsn: vsn, Params: params.appendJSON(nil),
		AuthToken: token, HasToken: hasToken, Peer: cfg.peerOf(peer, req), Headers: map[string]string{},
	}
	for _, name := range cfg.AuthzHeaders {
		if v := req.Header.Values(name); len(v) > 0 {
			r.Headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(v, ", "), "\uFFFD")
		}
	}
	return r, serializer, nil
}

// tokenPrefix marks the subprotocol that carries the auth token (phoenix.js 1.8 socket.js, transportConnect).
const tokenPrefix = "base64url.bearer.phx."

// errSubprotocol: what the client offers is nothing this server speaks, or holds a token that does not decode.
var errSubprotocol = errors.New("unacceptable subprotocol")

// subprotocolToken takes the auth token out of the offered subprotocols and checks the rest against "phoenix" (Phoenix 1.8
// transports/websocket.ex, maybe_auth_token_from_header/2; socket/transport.ex, check_subprotocols/2). An undecodable token, which Phoenix answers
// with 500, is refused.
func subprotocolToken(headers []string) (token string, ok bool, err error) {
	if len(headers) == 0 {
		return "", false, nil
	}
	var tokens, others []string
	for _, p := range strings.Split(strings.Join(headers, ","), ",") {
		p = strings.TrimSpace(p)
		if t, found := strings.CutPrefix(p, tokenPrefix); found {
			tokens = append(tokens, t)
		} else if p != "" {
			others = append(others, p)
		}
	}
	if len(tokens) == 1 {
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(tokens[0], "="))
		if err != nil || !utf8.Valid(raw) {
			return "", false, errSubprotocol
		}
		token, ok = string(raw), true
	} else if len(tokens) > 1 {
		others = append(others, tokens...) // several: no token, and the list is left as it was
	}
	if len(others) == 0 {
		return token, ok, nil
	}
	for _, p := range others {
		if p == "phoenix" {
			return token, ok, nil
		}
	}
	return "", false, errSubprotocol
}

// trusts reports whether an address is a trusted proxy's.
func (c *Config) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// peerOf is the client's address: the connection's peer, or what trusted proxies say. The last address of X-Forwarded-For that is not a trusted proxy's counts, since
// everything before it was written by someone who is not trusted.
func (c *Config) peerOf(peer netip.Addr, req *http.Request) string {
	if !peer.IsValid() {
		return ""
	}
	if !c.trusts(peer) {
		return peer.String()
	}
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = a.Unmap()
		if !c.trusts(peer) {
			break
		}
	}
	return peer.String()
}

// connectDecided goes on when the authorizer has answered.
func (l *loop) connectDecided(s *socket, d *ConnectDecision, err error) {
	log := l.srv.log
	switch {
	case err != nil:
		l.stats.connects.add(connectUnavailable, 1)
		l.srv.warn("connect not decided", "err", err)
		l.refuse(s, refusal{status: http.StatusServiceUnavailable, text: "authorization unavailable"})
		return
	case !d.Allow:
		l.stats.connects.add(connectRefused, 1)
		log.Debug("connect refused", "peer", s.peer, "reason", d.Reason)
		l.refuse(s, refusal{status: http.StatusForbidden})
		return
	case !d.ExpiresAt.IsZero() && !d.ExpiresAt.After(time.Now()):
		l.stats.connects.add(connectRefused, 1)
		log.Debug("connect refused", "peer", s.peer, "reason", "expired already")
		l.refuse(s, refusal{status: http.StatusForbidden})
		return
	case l.srv.shut.Load():
		l.refuse(s, refusal{status: http.StatusServiceUnavailable, text: "draining"})
		return
	}
	in := s.in
	response, deflates, err := upgrade(in.hs.head, l.srv.cfg.Compress)
	if err != nil {
		l.refuse(s, refusal{status: http.StatusBadRequest, text: err.Error()})
		return
	}
	l.stats.connects.add(connectAllowed, 1)
	l.stats.sockets.add(1)
	s.state = open
	s.assigns = d.Assigns
	s.deadline, s.expires = 0, 0
	if !d.ExpiresAt.IsZero() {
		s.expires = l.at(d.ExpiresAt)
		s.deadline = s.expires
	}
	s.retires = l.retirement()
	l.setID(s, d.ID)
	early := in.buf
	l.forget(s)
	l.send(s, response)
	s.deflates = deflates
	if len(early) > 0 {
		l.feedFrames(s, early)
	}
}

// upgrade lets gobwas/ws check the request (RFC 6455 §4.2.1) and write the 101. compress: permessage-deflate may be agreed on; deflates says that it was.
func upgrade(head []byte, compress bool) (response []byte, deflates bool, err error) {
	var b bytes.Buffer
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "phoenix" }}
	agreed := func() bool { return false }
	if compress {
		u.Negotiate, agreed = deflating()
	}
	_, err = u.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(head), &b})
	return b.Bytes(), agreed(), err
}

// refuse answers a handshake with a status and ends the socket.
func (l *loop) refuse(s *socket, r refusal) {
	l.stats.handshakesRefused.add(1)
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 ")
	b.WriteString(statusLine(r.status))
	b.WriteString("\r\nConnection: close\r\n")
	if r.text != "" {
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\n")
	}
	if r.status == http.StatusBadRequest {
		b.WriteString("Sec-WebSocket-Version: 13\r\n")
	}
	if r.status == http.StatusServiceUnavailable {
		b.WriteString("Retry-After: " + strconv.Itoa(max(int(r.after.Round(time.Second)/time.Second), 1)) + "\r\n")
	}
	writeLength(&b, len(r.text))
	b.WriteString(r.text)
	s.state = handshaking // nothing of it is a WebSocket
	l.send(s, b.Bytes())
	l.linger(s, causeHandshake)
}

// handOver gives a connection whose path is none of the sockets' to the HTTP handler.
func (l *loop) handOver(s *socket, head []byte) {
	rest := append(head, s.in.buf...)
	conn, err := l.detach(s)
	if err != nil {
		l.srv.warn("hand connection to the HTTP handler", "err", err)
		return
	}
	l.srv.pages.give(prefixed{Conn: conn, rest: rest})
}

// prefixed is a connection some of whose bytes were read already.
type prefixed struct {
	net.Conn
	rest []byte
}

func newHeadReader() *bufio.Reader { return bufio.NewReaderSize(nil, 4096) }
