package phxtest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gobwas/ws"
)

// order is a message that has the server of these tests send something.
func order(what string, arg any) any {
	return map[string]any{"do": []any{map[string]any{what: arg}}}
}

func TestClientFrames(t *testing.T) {
	url := wsURL(startObedient(t))
	c := Dial(t, url, Name("ann"), Protocols("other", "phoenix"))
	if got := c.Protocol(); got != "phoenix" {
		t.Errorf("protocol %q, want phoenix", got)
	}
	c.SendText(`["x",1]`)
	c.Want(`[{"$bind":"first"},1]`)
	c.SendJSON([]any{c.Bound("first"), "<&>"})
	c.Want(`["x","<&>"]`)
	c.SendBinary([]byte{0, 255})
	c.WantBinary([]byte{0, 255})
	c.SendText("")
	if f := c.Recv(Patience()); f.Binary || len(f.Data) != 0 {
		t.Errorf("got %v, want an empty text frame", f)
	}

	// Two frames in one write, the second in two pieces.
	frames := append(clientFrame("1"), clientFrame("2")...)
	c.SendRaw(frames[:len(frames)-1])
	c.Want("1")
	c.SendRaw(frames[len(frames)-1:])
	c.Want("2")

	// A fragmented message with a ping inside.
	c.SendJSON(order("raw", "0102"+"5b31"+"8900"+"8002"+"2c32"+"8101"+"33"))
	wantFailure(t, func(tb testing.TB) {
		with(c, tb).Want("3")
	}, "ann: got [1,2\nwant 3", `ann → ["x",1]`, `ann ← ["x",1]`, "ann → hex:00ff")
	c.Want("3")
	c.WantNothing(20 * time.Millisecond)
}

// with is the same client in another test.
func with(c *Client, t testing.TB) *Client {
	other := *c
	other.t = t
	return &other
}

func clientFrame(text string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))
}

func TestClientCloses(t *testing.T) {
	url := wsURL(startObedient(t))
	tests := []struct {
		name string
		do   any
		code int
	}{
		{"code", order("close", 1012), 1012},
		{"no code", order("raw", "8800"), 1005},
		{"end without a close frame", order("end", true), 1006},
		{"masked frame", order("raw", "818100000000"+"31"), 1006},
		{"reserved bit", order("raw", "c100"), 1006},
		{"continuation of nothing", order("raw", "8000"), 1006},
		{"text that is not UTF-8", order("raw", "8101ff"), 1006},
		{"close frame of one byte", order("raw", "880103"), 1006},
		{"endless frame", order("raw", "827f7fffffffffffffff"), 1006},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := Dial(t, url)
			c.SendJSON(test.do)
			if got := c.WantClosed(test.code); got != test.code {
				t.Errorf("code %d, want %d", got, test.code)
			}
			c.WantEnded()
		})
	}

	t.Run("ours", func(t *testing.T) {
		c := Dial(t, url)
		c.SendText("unread")
		c.Close(1000)
	})
	t.Run("killed", func(t *testing.T) {
		c := Dial(t, url)
		c.Kill()
		c.WantClosed(1006)
	})
	t.Run("answered", func(t *testing.T) {
		c := Dial(t, url, Name("ann"))
		c.SendJSON(order("close", 1001))
		c.WantClosed(1001)
		c.WantEnded() // the server waits for our close frame
		if log := c.Log().String(); strings.Count(log, "ann → close 1001") != 1 {
			t.Errorf("want one close frame in\n%s", log)
		}
	})
	t.Run("unanswered", func(t *testing.T) {
		c := Dial(t, url, Name("ann"), NoCloseReply())
		c.SendJSON(order("close", 1001))
		c.WantClosed(1001)
		c.SendJSON(order("end", true)) // the server still reads
		c.WantEnded()
		if log := c.Log().String(); strings.Contains(log, "→ close") {
			t.Errorf("want no close frame in\n%s", log)
		}
	})
}

func TestClientFailures(t *testing.T) {
	url := wsURL(startObedient(t))
	c := Dial(t, url, Name("bob"))
	c.SendText("1")
	wantFailure(t, func(tb testing.TB) { with(c, tb).WantClosed() }, "bob: got 1, want the close")
	c.SendText("2")
	wantFailure(t, func(tb testing.TB) { with(c, tb).WantNothing(Patience()) }, "bob: got 2, want nothing")
	wantFailure(t, func(tb testing.TB) { with(c, tb).Recv(time.Millisecond) }, "nothing came in time")
	c.SendJSON(order("close", 1001))
	wantFailure(t, func(tb testing.TB) { with(c, tb).Want("1") }, "closed 1001")
	wantFailure(t, func(tb testing.TB) { with(c, tb).WantClosed(1012) }, "want code [1012]")

	WantRefused(t, url+"&reject=true", 403)
	wantFailure(t, func(tb testing.TB) { WantRefused(tb, url+"&reject=true", 503) }, "403")
	wantFailure(t, func(tb testing.TB) { WantRefused(tb, url, 403) }, "accepted")
	wantFailure(t, func(tb testing.TB) { Dial(tb, url+"&reject=true") }, "403")
}

// A paused client leaves what the server sends in the kernel.
func TestClientPause(t *testing.T) {
	c := Dial(t, wsURL(startObedient(t)), Paused())
	c.SendText("1")
	c.WantNothing(50 * time.Millisecond)
	c.Resume()
	c.Want("1")
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(obedient(t))
	t.Cleanup(s.Close)
	config := s.Client().Transport.(*http.Transport).TLSClientConfig

	c := Dial(t, wsURL(s.URL), TLS(config))
	c.SendText("1")
	c.Want("1")
	c.Kill()
	wantFailure(t, func(tb testing.TB) { Dial(tb, wsURL(s.URL)) }, "certificate")

	all, err := LoadTranscripts(fstest.MapFS{"own.json": {Data: []byte(`{"transcripts":[{"name":"tls","level":"must","about":"","steps":[
		{"open":"A","path":"/socket/websocket","query":{}},{"as":"A","send":1},{"as":"A","recv":1},
		{"http":{"method":"GET","path":"/socket/longpoll"},"expect":{"status":200}}]}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Base: map[string]string{"/socket": s.URL}, TLS: config}
	if err := Run(t.Context(), target, all[0]); err != nil {
		t.Error(err)
	}
}
