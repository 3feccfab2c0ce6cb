package phxtest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// startObedient accepts WebSocket connections (403 with reject=true) and does
// on each what its frames say, see obey. It returns its "http://…" URL.
func startObedient(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(obedient(t))
	t.Cleanup(s.Close)
	return s.URL
}

// obedient is the handler of startObedient. The test's cleanup waits for it
// to end, after what was set up later is gone.
func obedient(t *testing.T) http.Handler {
	var handled sync.WaitGroup
	upgrader := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == "phoenix" }}
	t.Cleanup(handled.Wait)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handled.Add(1)
		defer handled.Done()
		if r.URL.Query().Get("reject") == "true" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Header.Get("Upgrade") == "" {
			answerPlain(w, r)
			return
		}
		conn, _, _, err := upgrader.Upgrade(r, w)
		if err != nil {
			return
		}
		defer conn.Close()
		obey(conn)
	})
}

// answerPlain tells what the request was.
func answerPlain(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("X-Method", r.Method)
	text, err := json.Marshal(map[string]any{
		"status": 200, "query": r.URL.RawQuery, "body": string(body), "tok": r.Header.Get("X-Tok"),
		"messages": []string{`["a"]`, `["b"]`},
	})
	if err != nil {
		return
	}
	w.Write(text)
}

// obey echoes each message, but a text message {"do": [...]} is a list of
// what to do: {"text": s} and {"hex": h} send a message, {"raw": h} bytes,
// {"close": code} a close frame, {"end": true} ends the TCP connection.
func obey(conn net.Conn) {
	for {
		data, op, err := wsutil.ReadClientData(conn)
		if err != nil {
			return
		}
		var list struct{ Do []map[string]any }
		if op == ws.OpBinary || json.Unmarshal(data, &list) != nil || list.Do == nil {
			err = wsutil.WriteServerMessage(conn, op, data)
		}
		for _, order := range list.Do {
			for what, arg := range order {
				err = obeyOne(conn, what, arg)
			}
			if err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func obeyOne(conn net.Conn, what string, arg any) error {
	switch what {
	case "text":
		return wsutil.WriteServerText(conn, []byte(arg.(string)))
	case "hex", "raw":
		data, err := hex.DecodeString(arg.(string))
		if err != nil {
			return err
		}
		if what == "hex" {
			return wsutil.WriteServerBinary(conn, data)
		}
		_, err = conn.Write(data)
		return err
	case "close":
		return ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(arg.(float64)), "")))
	case "end":
		return io.EOF
	}
	return fmt.Errorf("unknown order %q", what)
}

func wsURL(url string) string {
	return strings.Replace(url, "http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
}
