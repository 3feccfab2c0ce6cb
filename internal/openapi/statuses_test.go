package openapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// bodies are a good request for each path that takes one.
var bodies = map[string]string{"/api/broadcast": `{"topic":"room:1","event":"e","payload":{}}`, "/api/disconnect": `{"socket_id":"user:1"}`}

// all asks each route for something good and wants a status with an error.
func (a *arena) all(t *testing.T, status int, place string) {
	t.Helper()
	for path, body := range bodies {
		a.post(path, body).want(t, status, place)
	}
	a.get("/api/presence?topic=room:1").want(t, status, place)
}

// Without the token nothing is said, not even which paths there are.
func testUnauthorized(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	seen := listen(t, nats, "phx.topic.>")
	a := start(t, doc, nats)
	for _, value := range []string{"", "Bearer", "Bearer ", "Bearer " + token + "x", "Bearer x" + token, "Bearer " + token[1:], "Basic " + token, token} {
		for path, body := range bodies {
			a.do(http.MethodPost, path, body, "Content-Type", "application/json", "Authorization", value).want(t, http.StatusUnauthorized, "")
		}
		a.do(http.MethodGet, "/api/presence?topic=room:1", "", "Authorization", value).want(t, http.StatusUnauthorized, "")
		a.do(http.MethodDelete, "/api/nowhere", "", "Authorization", value).want(t, http.StatusUnauthorized, "")
	}
	a.do(http.MethodPost, "/api/broadcast", bodies["/api/broadcast"], "Content-Type", "application/json", "Authorization", "bEARER  "+token).wantBody(t, `{"published":1}`)
	if seen.next(); len(seen.messages) > 0 {
		t.Error("something was published without the token")
	}
}

// Bodies that are not what they should be.
func testBodies(t *testing.T, doc *document) {
	a := start(t, doc, phxtest.StartNATS(t))
	for path, body := range bodies {
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/jsonx", "/"} {
			a.do(http.MethodPost, path, body, "Content-Type", kind).want(t, http.StatusUnsupportedMediaType, "want Content-Type")
		}
		a.do(http.MethodPost, path, body, "Content-Type", "application/json", "Content-Encoding", "gzip").want(t, http.StatusUnsupportedMediaType, "want Content-Type")
		a.do(http.MethodPost, path, body, "Content-Type", "Application/JSON; charset=UTF-8").wantBody(t, `{"published":1}`)
		a.post(path, " \r\n\t"+body+"\n").wantBody(t, `{"published":1}`)
		for _, bad := range []string{"", "null", "[]", `"x"`, body + "x", body + body, body[:len(body)-1], strings.Replace(body, "1", "\xff", 1), strings.Repeat("[", 100_000)} {
			a.post(path, bad).want(t, http.StatusBadRequest, "body: ")
		}
	}
}

// Limits of size.
func testTooLarge(t *testing.T, doc *document) {
	a := start(t, doc, phxtest.StartNATS(t))
	for path, body := range bodies {
		a.post(path, body+strings.Repeat(" ", 4<<20-len(body))).wantBody(t, `{"published":1}`)
		for _, more := range []int{1, 8 << 20} {
			for _, expect := range []string{"", "100-continue"} {
				a.do(http.MethodPost, path, body+strings.Repeat(" ", 4<<20-len(body)+more), "Content-Type", "application/json", "Expect", expect).
					want(t, http.StatusRequestEntityTooLarge, "body: more than 4194304 bytes")
			}
		}
		// Without a Content-Length.
		request, err := http.NewRequest(http.MethodPost, "http://"+a.admin+path, io.MultiReader(strings.NewReader(body+strings.Repeat(" ", 4<<20))))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		request.Body = io.NopCloser(strings.NewReader(body))
		a.check(request, response).want(t, http.StatusRequestEntityTooLarge, "body: more than 4194304 bytes")
	}
	a.post("/api/broadcast", `{"topic":"room:1","event":"e","payload":{"a":"`+strings.Repeat("x", 1<<20)+`"}}`).want(t, http.StatusRequestEntityTooLarge, "payload: larger than NATS takes")
}

// A body that does not come is not waited for; nor is one of a request that is refused anyway.
func testSlowBody(t *testing.T, doc *document) {
	a := start(t, doc, phxtest.StartNATS(t))
	for path := range bodies {
		for _, status := range []int{http.StatusRequestTimeout, http.StatusUnauthorized} {
			t.Run(fmt.Sprint(path, status), func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", a.admin)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				given := token
				if status == http.StatusUnauthorized {
					given = "none"
				}
				if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{", path, given); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetReadDeadline(time.Now().Add(10*time.Second + 2*phxtest.Patience()))
				request, err := http.NewRequest(http.MethodPost, "http://"+a.admin+path, strings.NewReader("{"))
				if err != nil {
					t.Fatal(err)
				}
				response, err := http.ReadResponse(bufio.NewReader(conn), request)
				if err != nil {
					t.Fatal(err)
				}
				request.Body = io.NopCloser(strings.NewReader("{"))
				a.check(request, response).want(t, status, "")
			})
		}
	}
}

// What NATS does not permit the gateway is not called done.
func testDenied(t *testing.T, doc *document) {
	s := startServer(t, map[string]*server.Permissions{"gateway": {Publish: &server.SubjectPermission{Deny: []string{"phx.topic.>", "phx.socket.*", "phx.presence.list.>"}}}})
	a := start(t, doc, strings.Replace(s.ClientURL(), "nats://", "nats://gateway:gateway@", 1))
	for range 3 { // the connection survives each
		a.all(t, http.StatusBadGateway, "NATS does not permit this gateway to publish on phx.")
	}
}

// What the presence service answers, or does not.
func testPresenceAnswers(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	for topic, answer := range map[string]string{"large": `{"error":"too large, ask for pages"}`, "bad": "hm", "refused": `{"error":"bad request"}`, "not_ready": `{"error":"unavailable"}`, "silent": ""} {
		answerPresence(t, nats, topic, answer)
	}
	a := start(t, doc, nats)
	a.get("/api/presence?topic=large").want(t, http.StatusUnprocessableEntity, "too large, ask for pages")
	a.get("/api/presence?topic=bad").want(t, http.StatusBadGateway, "the presence service's answer makes no sense")
	a.get("/api/presence?topic=refused").want(t, http.StatusBadGateway, "the presence service's answer makes no sense")
	a.get("/api/presence?topic=not_ready").want(t, http.StatusServiceUnavailable, "no presence service is there")
	a.get("/api/presence?topic=nobody_answers").want(t, http.StatusServiceUnavailable, "no presence service is there")
	a.get("/api/presence?topic=silent").want(t, http.StatusGatewayTimeout, "no answer in time")
}

func testAway(t *testing.T, doc *document) {
	s := startServer(t, nil)
	a := start(t, doc, s.ClientURL())
	a.post("/api/broadcast", bodies["/api/broadcast"]).wantBody(t, `{"published":1}`)
	s.Shutdown()
	s.WaitForShutdown()
	waitFor(t, "503", func() bool { return a.post("/api/broadcast", bodies["/api/broadcast"]).status != http.StatusOK })
	a.all(t, http.StatusServiceUnavailable, "no connection to NATS: nothing was published")
	a.post("/api/broadcast", `{"topic":"","event":"e","payload":{}}`).want(t, http.StatusBadRequest, "topic: ") // no less wrong
}

// A NATS server that takes everything and answers nothing: what is published may have been.
func testNoAnswer(t *testing.T, doc *document) {
	for path, body := range bodies { // each with a gateway of its own, since a connection that does not answer is given up after some seconds
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := startFreezer(t, strings.TrimPrefix(phxtest.StartNATS(t), "nats://"))
			a := start(t, doc, "nats://"+f.addr)
			waitFor(t, "200", func() bool { return a.post(path, body).status == http.StatusOK })
			f.frozen.Store(true)
			a.post(path, body).want(t, http.StatusGatewayTimeout, "no answer in time")
		})
	}
}

// A request that is under way when the gateway is told to end gets its answer.
func testEnd(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	asked := listen(t, nats, "phx.presence.list.silent")
	a := start(t, doc, nats)
	answered := make(chan *answer, 1)
	go func() {
		defer close(answered)
		answered <- a.get("/api/presence?topic=silent")
	}()
	asked.next()
	if err := a.proc.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got != nil { // it has failed otherwise
		got.want(t, http.StatusGatewayTimeout, "no answer in time")
	}
}

// freezer is a TCP proxy; while it is frozen, what the server says is held back.
type freezer struct {
	addr   string
	frozen atomic.Bool
}

func startFreezer(t *testing.T, server string) *freezer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go f.pass(client, server)
		}
	}()
	return f
}

func (f *freezer) pass(client net.Conn, addr string) {
	defer client.Close()
	upstream, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer upstream.Close()
	go func() {
		defer upstream.Close()
		_, _ = io.Copy(upstream, client) // until either end closes
	}()
	buf := make([]byte, 4096)
	for {
		n, err := upstream.Read(buf)
		if err != nil {
			return
		}
		if f.frozen.Load() {
			continue
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
