package clustertest

import (
	"fmt"
	"net"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestKill: a gateway dies with its connection to NATS. Its clients go on at the gateways that are left, and neither other clients nor backends hear of it.
func TestKill(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	c := Start(t, Options{Gateways: 3, NATS: []string{url}, Killable: true})
	nc := backend(t, url)
	left := listen(t, nc, "phx.left.>")
	var stay, moved []*phxtest.Client
	for i := range 10 {
		moved = append(moved, c.Dial(0, phxtest.Name(fmt.Sprint("moved", i))))
		stay = append(stay, c.Dial(1+i%2, phxtest.Name(fmt.Sprint("stays", i))))
		moved[i].Join("room:a", struct{}{})
		stay[i].Join("room:a", struct{}{})
	}

	c.Kill(0)
	if conn, err := net.Dial("tcp", c.Gateways[0].Addr); err == nil {
		_ = conn.Close()
		t.Error("the address of the killed gateway is still served")
	}
	for i, m := range moved {
		m.WantClosed(1006)
		moved[i] = c.Dial(1+i%2, phxtest.Name(fmt.Sprint("again", i)))
		moved[i].Join("room:a", struct{}{})
	}

	// The next thing that anybody sees is what is said from now on.
	publish(t, nc, "phx.topic.room.a", `{"event":"after","payload":{}}`)
	moved[0].WantEvent("room:a", "after", `{}`)
	moved[0].Push("room:a", "typing", map[string]any{"who": "moved"})
	for _, m := range append(moved[1:], stay...) {
		m.WantEvent("room:a", "after", `{}`)
		m.WantEvent("room:a", "typing", `{"who":"moved"}`)
	}
	stay[0].Leave("room:a")
	msg, err := left.NextMsg(phxtest.Patience())
	if err != nil {
		t.Fatalf("left: %v", err)
	}
	if string(msg.Data) != `{"reason":"left"}` {
		t.Errorf("a dead gateway published phx.left: %s %s", msg.Header.Get("Phx-Channel"), msg.Data)
	}
}
