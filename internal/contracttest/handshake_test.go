package contracttest

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// tryUpgrade makes a handshake and returns the status of the answer.
func tryUpgrade(g *gateway) (int, error) {
	status, _, _, err := handshake(g, "/socket/websocket?vsn=2.0.0")
	return status, err
}

// upgrade makes a handshake, headers beside or over the usual ones, and wants
// some answer.
func upgrade(t *testing.T, g *gateway, path string, headers ...string) (int, string, http.Header) {
	t.Helper()
	status, body, header, err := handshake(g, path, headers...)
	if err != nil {
		t.Fatalf("%s %q: %v", path, headers, err)
	}
	return status, body, header
}

func handshake(g *gateway, path string, headers ...string) (int, string, http.Header, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+g.addr+path, nil)
	if err != nil {
		return 0, "", nil, err
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		request.Header.Set(name, value)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Timeout: 2 * phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return response.StatusCode, "", response.Header, nil
	}
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), response.Header, err
}

// The handshake's other answers (Phoenix 1.8 websocket.ex, transport.ex).
func TestHandshake(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	plain := startGateway(t, url, everything)
	open := startGateway(t, url, everything, "CHECK_ORIGIN=false", "SOCKET_PATH=/live/ws")
	listed := startGateway(t, url, everything, "CHECK_ORIGIN=https://a.example,//*.b.example")
	const path = "/socket/websocket?vsn=2.0.0"
	for _, test := range []struct {
		g       *gateway
		path    string
		headers []string
		status  int
	}{
		{plain, path, nil, 101},
		{plain, "/socket/websocket/?vsn=2.0.0", nil, 101},
		{plain, "/socket/websocket", nil, 101},
		{plain, "/socket/websocket?vsn=2.1.0", nil, 403},
		{plain, "/socket/websocket?vsn=2", nil, 403},
		{plain, "/socket/websocket?vsn=", nil, 403},
		{plain, "/socket/websocket?vsn=1.0.7", nil, 101},
		{plain, "/", nil, 404},
		{plain, "/socket", nil, 404},
		{plain, "/socket/websocketx", nil, 404},
		{plain, "/metrics", nil, 404},
		{plain, "/healthz", nil, 404},
		{plain, "/debug/pprof/", nil, 404},
		{plain, path, []string{"Origin", "http://127.0.0.1:1"}, 101},
		{plain, path, []string{"Origin", "https://127.0.0.1"}, 101},
		{plain, path, []string{"Origin", "http://evil.example"}, 403},
		{plain, path, []string{"Origin", "null"}, 403},
		{open, path, nil, 404},
		{open, "/live/ws/websocket?vsn=2.0.0", []string{"Origin", "http://evil.example"}, 101},
		{open, "/live/ws/websocket?vsn=2.0.0", []string{"Origin", "null"}, 101},
		{listed, path, nil, 101},
		{listed, path, []string{"Origin", "https://a.example"}, 101},
		{listed, path, []string{"Origin", "https://a.example:443"}, 101},
		{listed, path, []string{"Origin", "http://a.example"}, 403},
		{listed, path, []string{"Origin", "https://a.example:8443"}, 403},
		{listed, path, []string{"Origin", "http://b.example:1"}, 101},
		{listed, path, []string{"Origin", "https://x.y.b.example"}, 101},
		{listed, path, []string{"Origin", "https://xb.example"}, 403},
		{listed, path, []string{"Origin", "http://127.0.0.1"}, 403},
		{plain, path, []string{"Sec-WebSocket-Protocol", "phoenix"}, 101},
		{plain, path, []string{"Sec-WebSocket-Protocol", "other"}, 403},
		{plain, path, []string{"Sec-WebSocket-Protocol", "phoenix, base64url.bearer.phx.c2VjcmV0"}, 101},
		{plain, path, []string{"Sec-WebSocket-Protocol", "phoenix, base64url.bearer.phx.!!!"}, 403},
		{plain, path, []string{"Sec-WebSocket-Version", "12"}, 400},
		{plain, path, []string{"Upgrade", "h2c"}, 400},
		{plain, path, []string{"Sec-WebSocket-Extensions", "permessage-deflate"}, 101},
	} {
		status, _, header := upgrade(t, test.g, test.path, test.headers...)
		if status != test.status {
			t.Errorf("%s %v: status %d, want %d", test.path, test.headers, status, test.status)
		}
		if len(header["Sec-Websocket-Extensions"]) > 0 {
			t.Errorf("extensions %q", header["Sec-Websocket-Extensions"])
		}
	}
	if status, body := get("http://" + plain.addr + path); status != 400 {
		t.Errorf("plain GET: %d %q, want 400", status, body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/debug/pprof/": 200, "/socket/websocket": 404} {
		if status, _ := get("http://" + plain.admin + path); status != want {
			t.Errorf("admin %s: %d, want %d", path, status, want)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "MAX_CONNECTIONS=2")
	one, two := g.dial(t), g.dial(t)
	phxtest.WantRefused(t, g.url("vsn=2.0.0"), 503)
	two.Close(1001)
	waitFor(t, "the place to be free again", func() bool {
		status, _, _ := upgrade(t, g, "/socket/websocket?vsn=2.0.0")
		return status == 101
	})
	one.Heartbeat()
}

// A handshake has 10 s, however it drips.
func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything)
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	if _, err := conn.Write([]byte("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nX: ")); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		<-tick.C
		_, err = conn.Write([]byte("x"))
		if took := time.Since(start); took > 11*time.Second+phxtest.Scaled(time.Second) {
			t.Fatalf("still open after %v", took)
		}
	}
	if took := time.Since(start); took < 5*time.Second {
		t.Errorf("closed after %v, want 10 s", took)
	}
}
