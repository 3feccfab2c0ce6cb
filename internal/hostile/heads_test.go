package hostile

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gobwas/ws"
)

// headClasses are handshakes that must be refused, and some that look so and must not.
func headClasses() []class {
	return []class{
		{"header floods", nil, headerFlood},
		{"wrong origins", nil, heads(wrongOrigins)},
		{"paths", nil, heads(paths)},
		{"smuggling", nil, heads(smuggling)},
		{"early frames", nil, earlyFrames},
		{"other protocols", nil, otherProtocols},
	}
}

// head is a request head and the statuses of which one is due.
type head struct {
	name, text string
	statuses   []int
}

// heads makes the variants go through a table, each entry written in random pieces, and what is unread behind it.
func heads(table func() []head) func(*arena, variant) func() {
	return func(a *arena, v variant) func() {
		all := table()
		var ends []func()
		for i := v.n; i < len(all) || i == v.n; i += variants {
			h := all[i%len(all)]
			r := a.dial()
			r.writePieces(v.r, h.text)
			ends = append(ends, func() {
				response, err := r.answer()
				if err != nil {
					a.Errorf("%s: no answer: %v, want %v", h.name, err, h.statuses)
					return
				}
				due := false
				for _, status := range h.statuses {
					due = due || status == response.StatusCode
				}
				if !due {
					a.Errorf("%s: status %d, want %v", h.name, response.StatusCode, h.statuses)
				}
				if response.StatusCode != http.StatusSwitchingProtocols {
					r.wantEnd()
				}
				r.conn.Close()
			})
		}
		return func() {
			a.Helper()
			for _, end := range ends {
				end()
			}
		}
	}
}

// headerFlood sends heads beyond 32 KiB: many headers, a large one, a long request line; complete or not.
func headerFlood(a *arena, v variant) (end func()) {
	size := 33<<10 + v.r.IntN(200<<10)
	var flood string
	switch v.n % 4 {
	case 0:
		var b strings.Builder
		b.WriteString("GET /socket/websocket HTTP/1.1\r\n")
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
		}
		flood = b.String()
	case 1:
		flood = "GET /socket/websocket HTTP/1.1\r\nCookie: " + strings.Repeat("c", size)
	case 2:
		flood = "GET /socket/websocket?vsn=2.0.0&x=" + strings.Repeat("x", size)
	case 3:
		flood = upgradeHead("/socket/websocket?vsn=2.0.0&x=" + strings.Repeat("x", size))
	}
	r := a.dial()
	r.writePieces(v.r, flood)
	return func() {
		a.Helper()
		r.wantStatus(http.StatusRequestHeaderFieldsTooLarge)
	}
}

// wrongOrigins are not this host (Phoenix 1.8 socket/transport.ex, check_origin/5).
func wrongOrigins() (all []head) {
	for _, origin := range []string{
		"http://evil.example", "https://evil.example:4000", "null", "", "file://", "http://", "//evil.example", "127.0.0.1", "http://127.0.0.1.evil.example",
		"http://evil.example/127.0.0.1", "http://evil.example?127.0.0.1", "http://evil.example#127.0.0.1", "http://127.0.0.1@evil.example", "http://[::1]",
		"http://127.0.0.1:bad", "http://127.0.0.2", "http://127.0.0.1.", "http://127.0.0.1%00.evil.example", "http://2130706433", "javascript:127.0.0.1",
		"http://evil.example\r\nOrigin: http://127.0.0.1",
	} {
		all = append(all, head{"origin " + origin, upgradeHead("/socket/websocket?vsn=2.0.0", "Origin: "+origin), []int{403}})
	}
	return all
}

// paths are not the socket's, but look like it to a careless eye; a few are the socket's in another form.
func paths() (all []head) {
	add := func(target string, statuses ...int) {
		all = append(all, head{"path " + target, upgradeHead(target+"?vsn=2.0.0", "X-Path: "+target), statuses})
	}
	for _, target := range []string{
		"/socket/../socket/websocket", "/socket/%2e%2e/socket/websocket", "//socket/websocket", "/socket//websocket", "/socket/./websocket", "/socket/websocket/..",
		"/socket/websocket/extra", "/socket/websocket;x=1", "/SOCKET/WEBSOCKET", "/socket/websocket%00", "/socket/longpoll", "/", "/socket", "/websocket", "/socket/websockets",
		"/socket/web%2Fsocket", "http://127.0.0.1/socket/../socket/websocket", "/socket/websocket//", "/socket/websocket%20",
	} {
		add(target, 404)
	}
	for _, target := range []string{"*", "socket/websocket", `/socket\websocket`, "", "/socket/%zz", "/socket/web socket", "http://", "http://[::1/socket/websocket"} {
		add(target, 400, 404)
	}
	add("/socket/websocket/", 101)                // Phoenix's router tolerates one slash
	add("http://127.0.0.1/socket/websocket", 101) // RFC 9112 §3.2.2: a server accepts the absolute form
	all = append(all, head{"a query that is not UTF-8", upgradeHead("/socket/websocket?vsn=2.0.0&x=%ff"), []int{400}})
	return all
}

// smuggling are requests of which a proxy before the gateway may believe something else.
func smuggling() (all []head) {
	target := "/socket/websocket?vsn=2.0.0"
	add := func(name string, status int, extra ...string) {
		all = append(all, head{name, upgradeHead(target, extra...), []int{status}})
	}
	replaced := func(name, old, new string, statuses ...int) {
		all = append(all, head{name, strings.Replace(upgradeHead(target), old, new, 1), statuses})
	}
	add("Content-Length: 0 is no body", 101, "Content-Length: 0")
	add("a body", 400, "Content-Length: 5", "\r\nhello")
	add("two lengths (RFC 9112 §6.3)", 400, "Content-Length: 0", "Content-Length: 5")
	add("a negative length", 400, "Content-Length: -1")
	add("a length with a sign", 400, "Content-Length: +0")
	add("a length that is a list", 400, "Content-Length: 5, 5")
	add("a hexadecimal length", 400, "Content-Length: 0x0")
	add("chunks", 400, "Transfer-Encoding: chunked", "\r\n0\r\n")
	add("chunks and a length (RFC 9112 §6.3)", 400, "Transfer-Encoding: chunked", "Content-Length: 0")
	add("an unknown encoding (RFC 9112 §6.1)", 400, "Transfer-Encoding: xchunked")
	add("identity", 400, "Transfer-Encoding: identity")
	add("a space before the colon (RFC 9112 §5.1)", 400, "Transfer-Encoding : chunked")
	add("an encoding in a folded line", 400, "Transfer-Encoding:", " chunked")
	add("two hosts (RFC 9112 §3.2)", 400, "Host: evil.example")
	add("two keys (RFC 6455 §11.3.1)", 400, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
	add("two versions", 400, "Sec-WebSocket-Version: 8")
	add("a name with a space (RFC 9110 §5.1)", 400, "Bad Name: x")
	add("a line without a colon", 400, "nonsense")
	add("NUL in a value (RFC 9110 §5.5)", 400, "X-Nul: a\x00b")
	add("CR in a value (RFC 9110 §5.5)", 400, "X-Cr: a\rContent-Length: 5")
	replaced("the key in a folded line (RFC 9112 §5.2)", "Sec-WebSocket-Key", "X-Fold: a\r\n Sec-WebSocket-Key", 400)
	replaced("the upgrade in a folded line (RFC 9112 §5.2)", "Upgrade: websocket", "X-Fold: a\r\n\tUpgrade: websocket", 400)
	replaced("a folded first line (RFC 9112 §2.2)", "Host:", " X: y\r\nHost:", 400)
	replaced("no host", "Host: 127.0.0.1\r\n", "", 400)
	replaced("a host with a space", "Host: 127.0.0.1", "Host: 127.0.0.1 evil", 400)
	replaced("HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 400)
	replaced("HTTP/2.0 without its preface", "HTTP/1.1", "HTTP/2.0", 400, 505)
	replaced("HTTP/0.9", " HTTP/1.1", "", 400)
	replaced("a version that is none", "HTTP/1.1", "HTTP/1.1.1", 400)
	replaced("POST", "GET", "POST", 400)
	replaced("a method in lower case", "GET", "get", 400)
	replaced("a method that is none", "GET", "G\x00T", 400)
	replaced("h2c", "Upgrade: websocket", "Upgrade: h2c", 400)
	replaced("an upgrade that the connection does not name", "Connection: Upgrade", "Connection: close", 400)
	replaced("an old version", "Version: 13", "Version: 8", 400, 426)
	replaced("a request behind an empty one", "GET", "\r\n\r\nGET", 400)
	return all
}

// earlyFrames send what belongs behind the 101 before it is read: frames are served then, a second request is no frame.
func earlyFrames(a *arena, v variant) (end func()) {
	r := a.dial()
	head := upgradeHead("/socket/websocket?vsn=2.0.0")
	switch v.n % 4 {
	case 0:
		r.writePieces(v.r, text(beat("1"))+head)
		return func() { r.wantStatus(http.StatusBadRequest) }
	case 1:
		r.writePieces(v.r, head+head)
		return func() {
			r.wantStatus(http.StatusSwitchingProtocols)
			r.wantClose(1002)
		}
	case 2:
		flood := text(strings.Repeat("x", maxFrame+1+v.r.IntN(100_000)))
		r.writePieces(v.r, head+flood)
		return func() {
			r.wantStatus(http.StatusSwitchingProtocols)
			r.wantClose(1009)
		}
	}
	r.writePieces(v.r, head+text(beat("1"))+frame(ws.OpPing, true, "p"))
	return func() {
		r.wantStatus(http.StatusSwitchingProtocols)
		r.want(ws.OpText, beatReply("1"))
		r.want(ws.OpPong, "p")
		r.conn.Close()
	}
}

// otherProtocols speak something else, with an empty line in it: they are answered at once.
func otherProtocols(a *arena, v variant) (end func()) {
	r := a.dial()
	var data string
	switch v.n % 4 {
	case 0: // RFC 9113 §3.4, with an empty SETTINGS
		data = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	case 1:
		data = clientHello(a) + "\r\n\r\n"
	case 2:
		data = randomBytes(v.r, v.r.IntN(5000)) + "\r\n\r\n" + randomBytes(v.r, v.r.IntN(5000))
	case 3:
		data = "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"
	}
	r.writePieces(v.r, data)
	return func() { r.wantStatus(http.StatusBadRequest, http.StatusNotFound, http.StatusHTTPVersionNotSupported) }
}
