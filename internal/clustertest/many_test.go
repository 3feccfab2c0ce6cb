package clustertest

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestJoinsWaitWithoutGoroutines: 10,000 joins wait for an authz service that never answers. They cost no goroutine and hold up nobody, and fail when the time
// is over. It is alone in the process, since it counts goroutines.
func TestJoinsWaitWithoutGoroutines(t *testing.T) {
	const sockets, topics = 100, 100
	timeout := phxtest.Scaled(2 * time.Second)
	url := phxtest.StartNATS(t)
	c := Start(t, Options{
		NATS: []string{url}, Allow: true, Rules: "channels:\n  - topic: \"room:*\"\n    join: authz\n  - topic: \"lobby\"\n    join: allow\n",
		Config: func(cfg *gateway.Config) { cfg.AuthzTimeout = timeout },
	})
	asked := listen(t, backend(t, url), "phx.authz.join")
	other := c.Dial(0)
	other.Join("lobby", struct{}{})
	var clients []*raw
	for range sockets {
		clients = append(clients, dialRaw(t, c.URL(0, "vsn=2.0.0"), nil))
	}
	before := runtime.NumGoroutine()
	for _, r := range clients {
		var joins []byte
		for i := range topics {
			joins = append(joins, text(fmt.Sprintf(`["%d","%d","room:%d","phx_join",{}]`, i, i, i))...)
		}
		r.write(joins)
	}
	for n := range sockets * topics {
		if _, err := asked.NextMsg(phxtest.Patience()); err != nil {
			t.Fatalf("join request %d: %v", n, err)
		}
	}
	if more := runtime.NumGoroutine() - before; more > 50 {
		t.Errorf("%d goroutines more for %d joins that wait", more, sockets*topics)
	}
	began := time.Now()
	other.Heartbeat()
	if took := time.Since(began); took > phxtest.Scaled(200*time.Millisecond) {
		t.Errorf("a heartbeat took %v meanwhile", took)
	}
	clients[0].write(text(beat("b")))
	failed := 0
	for i, r := range clients {
		for failed < (i+1)*topics {
			f := r.next()
			m, err := phxtest.ParseMessage(phxtest.Frame{Data: f.Payload})
			if err != nil {
				t.Fatal(err)
			}
			if m.Topic == "phoenix" {
				if failed == topics {
					t.Error("a heartbeat waited behind the joins of its socket")
				}
				continue
			}
			var response struct{ Reason string }
			if err := json.Unmarshal(m.Payload, &response); err != nil || m.Status != "error" || response.Reason != "authorization unavailable" {
				t.Fatalf("join of %s: %s %s", m.Topic, m.Status, m.Payload)
			}
			failed++
		}
	}
	// All is as before: the same socket may join anew.
	clients[1].write(text(`["1","1","lobby","phx_join",{}]`))
	clients[1].want(ws.OpText, `["1","1","lobby","phx_reply",{"status":"ok","response":{}}]`)
}

// TestIdleSocketsHoldNoGoroutine: where there is epoll, a socket that waits is a descriptor. It is alone in the process, since it counts goroutines.
func TestIdleSocketsHoldNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sockets have goroutines where there is no epoll")
	}
	const sockets = 500
	url := phxtest.StartNATS(t)
	c := Start(t, Options{NATS: []string{url}})
	first := dialRaw(t, c.URL(0, "vsn=2.0.0"), nil)
	first.write(text(`["1","1","room:a","phx_join",{}]`))
	first.next()
	before := runtime.NumGoroutine()
	all := []*raw{first}
	for i := range sockets {
		r := dialRaw(t, c.URL(0, "vsn=2.0.0"), nil)
		r.write(text(`["1","1","room:a","phx_join",{}]`))
		r.want(ws.OpText, `["1","1","room:a","phx_reply",{"status":"ok","response":{}}]`)
		if i%100 == 0 {
			r.write(frame(ws.OpPing, true, "p"))
			r.want(ws.OpPong, "p")
		}
		all = append(all, r)
	}
	if more := runtime.NumGoroutine() - before; more > 10 {
		t.Errorf("%d goroutines more for %d idle sockets", more, sockets)
	}
	publish(t, backend(t, url), "phx.topic.room.a", `{"event":"e","payload":{}}`)
	for _, r := range all {
		r.want(ws.OpText, `[null,null,"room:a","e",{}]`)
	}
}
