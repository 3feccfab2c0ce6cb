package phxtest

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Client is a WebSocket client of one test. A method that does not get what it
// wants fails the test and prints the transcript so far. The methods belong to
// the test's goroutine; only the Send methods may run beside them.
type Client struct {
	t        testing.TB
	ws       *socket
	v1       bool // frames are V1 objects, else V2 arrays
	lastRef  int
	joinRefs map[string]string // of the topics that Join joined
	bound    Bindings
}

// Dial opens a client on a URL such as
// "ws://127.0.0.1:4000/socket/websocket?vsn=2.0.0", whose vsn also says how
// the client writes its frames (V1 where there is none). The test fails if the
// server refuses. The connection is dropped when the test ends.
func Dial(t testing.TB, url string, opts ...Option) *Client {
	t.Helper()
	c := newConfig(opts)
	s, err := openSocket(context.Background(), url, c)
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.name, err, c.log)
	}
	t.Cleanup(func() { s.drop(false) })
	return &Client{t: t, ws: s, v1: !strings.HasPrefix(vsn(url), "2."), joinRefs: map[string]string{}}
}

func vsn(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Query().Get("vsn")
}

// WantRefused fails the test unless the server answers the handshake with the
// HTTP status.
func WantRefused(t testing.TB, url string, status int, opts ...Option) {
	t.Helper()
	c := newConfig(opts)
	s, err := openSocket(context.Background(), url, c)
	var got ws.StatusError
	switch {
	case err == nil:
		s.drop(false)
		t.Fatalf("%s: open %s: accepted, want status %d", c.name, url, status)
	case !errors.As(err, &got) || int(got) != status:
		t.Fatalf("%s: %v, want status %d", c.name, err, status)
	}
}

// Protocol is the subprotocol that the server chose, empty for none.
func (c *Client) Protocol() string { return c.ws.protocol }

// Log is the transcript that the client writes into.
func (c *Client) Log() *Log { return c.ws.log }

// SendJSON sends v as the JSON of one text frame.
func (c *Client) SendJSON(v any) {
	c.t.Helper()
	text, err := encodeJSON(v)
	c.check(err, "send %v", v)
	c.send(ws.OpText, text)
}

// SendText sends one text frame, which may be anything but UTF-8 too.
func (c *Client) SendText(text string) { c.t.Helper(); c.send(ws.OpText, []byte(text)) }

// SendBinary sends one binary frame.
func (c *Client) SendBinary(data []byte) { c.t.Helper(); c.send(ws.OpBinary, data) }

// SendPing sends a ping with at most 125 bytes.
func (c *Client) SendPing(data []byte) { c.t.Helper(); c.send(ws.OpPing, data) }

// SendRaw writes bytes on the connection as they are: half frames, several in
// one write, unmasked ones.
func (c *Client) SendRaw(b []byte) {
	c.t.Helper()
	c.ws.log.Note(c.ws.name, "%d raw bytes", len(b))
	c.check(c.ws.write(b), "write %d raw bytes", len(b))
}

func (c *Client) send(op ws.OpCode, data []byte) {
	c.t.Helper()
	c.check(c.ws.send(op, data), "send")
}

// Recv takes the next frame; the test fails if none comes within the timeout,
// which is not scaled, or the connection is over.
func (c *Client) Recv(timeout time.Duration) Frame {
	c.t.Helper()
	f, err := c.ws.recv(context.Background(), timeout)
	c.check(err, "receive")
	return f
}

// TryRecv is Recv for goroutines other than the test's: it returns the error.
func (c *Client) TryRecv(timeout time.Duration) (Frame, error) {
	return c.ws.recv(context.Background(), timeout)
}

// Drain forgets the frames received so far.
func (c *Client) Drain() { c.ws.forget() }

// Pause has the client read no more, except for one frame that it may be
// waiting for; Resume ends that.
func (c *Client) Pause() { c.ws.pause(true) }

// Resume has the client read again.
func (c *Client) Resume() { c.ws.pause(false) }

// SendClose sends a close frame with the code and no reason, and does not wait.
func (c *Client) SendClose(code int) {
	c.t.Helper()
	c.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), ""))
}

// Close closes properly: it sends a close frame, and returns when the server
// has answered with its own and ended the TCP connection. Frames that come
// before that are dropped.
func (c *Client) Close(code int) {
	c.t.Helper()
	c.SendClose(code)
	for {
		_, err := c.ws.recv(context.Background(), Patience())
		var closed *ClosedError
		if errors.As(err, &closed) && closed.Cause == nil {
			break
		}
		c.check(err, "close %d", code)
	}
	c.WantEnded()
}

// Kill resets the TCP connection, as a crashed machine's router does; the
// server sees an error.
func (c *Client) Kill() {
	c.ws.log.Note(c.ws.name, "kill")
	c.ws.drop(true)
}

// Drop ends the TCP connection without a close frame; the server sees the end
// of the stream.
func (c *Client) Drop() {
	c.ws.log.Note(c.ws.name, "drop")
	c.ws.drop(false)
}

// WantClosed wants the close as the next thing, with one of the codes (any,
// if none are given), and returns the code. It is 1006 where the connection
// ended without a close frame.
func (c *Client) WantClosed(codes ...int) int {
	c.t.Helper()
	f, err := c.ws.recv(context.Background(), Patience())
	var closed *ClosedError
	switch {
	case err == nil:
		c.fail("got %v, want the close %v", f, codes)
	case !errors.As(err, &closed):
		c.fail("%v, want the close %v", err, codes)
	case len(codes) > 0 && !slices.Contains(codes, closed.Code):
		c.fail("%v, want code %v", closed, codes)
	}
	return closed.Code
}

// WantEnded wants the server to end the TCP connection within Patience plus
// the five seconds that it has after its close frame.
func (c *Client) WantEnded() {
	c.t.Helper()
	deadline := time.NewTimer(5*time.Second + Patience())
	defer deadline.Stop()
	select {
	case <-c.ws.ended:
	case <-deadline.C:
		c.fail("the TCP connection is still open")
	}
}

func (c *Client) check(err error, format string, args ...any) {
	c.t.Helper()
	if err != nil {
		c.fail(format+": %v", append(args, err)...)
	}
}

func (c *Client) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf(c.ws.name+": "+format+"\ntranscript so far:\n%s", append(args, c.ws.log)...)
}
