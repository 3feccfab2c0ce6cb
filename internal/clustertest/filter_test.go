package clustertest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const filterRules = `channels:
  - topic: "room:*"
    join: 'topic != "room:secret"'
    events: [{event: want, do: call}]
    deliver: 'event == "end" || payload.n % 5 == assigns.want'
`

// TestFilteredTopic: each client gets what its assigns ask for, all of it, once and in order, while others come, go and change, and the rules are reloaded.
func TestFilteredTopic(t *testing.T) {
	t.Parallel()
	const messages, perGateway = 3000, 10
	url := phxtest.StartNATS(t)
	c := Start(t, Options{Gateways: 2, NATS: []string{url}, Rules: filterRules, Allow: true})
	nc := backend(t, url)
	if _, err := nc.Subscribe("phx.event.want.>", func(m *natsgo.Msg) {
		_ = m.RespondMsg(&natsgo.Msg{Header: natsgo.Header{"Phx-Assigns": {string(m.Data)}}})
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	want := func(client *phxtest.Client, n int) {
		client.Call("room:a", "want", map[string]int{"want": n}, "ok")
	}
	var readers []*phxtest.Client
	for i := range 2 * perGateway {
		r := c.Dial(i%2, phxtest.Name(fmt.Sprint("reader", i)))
		r.Join("room:a", struct{}{})
		want(r, i%5)
		readers = append(readers, r)
	}
	done := make(chan struct{})
	var churn sync.WaitGroup
	for i := range 2 {
		churn.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				s := c.Dial(i, phxtest.Name("passer-by"))
				s.Join("room:a", struct{}{})
				s.Push("room:a", "want", map[string]int{"want": n % 5})
				s.Drop()
				if set, err := rules.Parse("rules.yaml", []byte(filterRules)); err == nil && n%10 == 0 {
					c.Gateways[i].Server.SetRules(set)
				}
			}
		})
	}
	for n := range messages {
		if err := nc.Publish("phx.topic.room.a", fmt.Appendf(nil, `{"event":"e","payload":{"n":%d}}`, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Publish("phx.topic.room.a", []byte(`{"event":"end","payload":{}}`)); err != nil {
		t.Fatal(err)
	}
	for i, r := range readers {
		for n := i % 5; ; n += 5 {
			m, err := phxtest.ParseMessage(r.Recv(phxtest.Patience()))
			if err != nil {
				t.Fatal(err)
			}
			if m.Event == "end" {
				if n < messages {
					t.Errorf("reader %d: the end came where %d was to be", i, n)
				}
				break
			}
			var body struct{ N int }
			if err = json.Unmarshal(m.Payload, &body); err != nil || body.N != n {
				t.Fatalf("reader %d: %s, want %d", i, m.Payload, n)
			}
		}
	}
	close(done)
	churn.Wait()
}
