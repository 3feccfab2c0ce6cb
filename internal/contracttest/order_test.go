package contracttest

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// noise has n other backends publish on the subjects until the test ends.
func noise(t *testing.T, url string, n int, subjects ...string) {
	t.Helper()
	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for range n {
		b := connectBackend(t, url)
		publishers.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				for _, subject := range subjects {
					// An error means that the test is over.
					_ = b.nc.PublishMsg(message(subject, `{"noise":true}`, "Phx-Event", "noise"))
				}
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); publishers.Wait() })
}

// Broadcast, push and reply of one backend connection arrive in that order,
// 2,000 times, while others publish on the same topic and on another one.
func TestOrderOfOneBackend(t *testing.T) {
	t.Parallel()
	const rounds, window = 2000, 50
	g, b := setup(t, everything)
	url := b.nc.ConnectedUrl()
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	c.Join("room:2", struct{}{})
	b.serve("phx.event.ask.room.1", func(msg *natsMsg) {
		body := string(msg.Data)
		_ = b.nc.PublishMsg(message("phx.topic.room.1", body, "Phx-Event", "b"))
		_ = b.nc.PublishMsg(message("phx.channel."+msg.Header.Get("Phx-Channel"), body, "Phx-Event", "p"))
		_ = b.nc.PublishMsg(message("phx.topic.room.1", `{"event":"b2","payload":`+body+`}`))
		reply(msg, body)
	})
	noise(t, url, 2, "phx.topic.room.1", "phx.topic.room.2")
	sent := 0
	for n := 0; n < rounds; n++ {
		for ; sent < rounds && sent < n+window; sent++ {
			c.Push("room:1", "ask", map[string]int{"n": sent})
		}
		for _, want := range []string{"b", "p", "b2", "phx_reply"} {
			m := recvUnless(t, c, "noise")
			if m.Event != want || string(m.Payload) != fmt.Sprintf(`{"n":%d}`, n) && !strings.Contains(string(m.Payload), fmt.Sprintf(`{"n":%d}`, n)) {
				t.Fatalf("round %d: got %s %s, want %s", n, m.Event, m.Payload, want)
			}
		}
	}
}

// recvUnless takes the next message that is not the event.
func recvUnless(t *testing.T, c *phxtest.Client, skip string) phxtest.Message {
	t.Helper()
	for {
		m, err := phxtest.ParseMessage(c.Recv(phxtest.Patience()))
		if err != nil {
			t.Fatal(err)
		}
		if m.Event != skip {
			return m
		}
	}
}

// A broadcast that is published as soon as the join reply was received comes
// next: 1,000 topics, each new to the gateway.
func TestPublishRightAfterJoinReply(t *testing.T) {
	t.Parallel()
	const joins = 1000
	g, b := setup(t, everything, "MAX_CHANNELS_PER_SOCKET=1000")
	c := g.dial(t)
	for n := range joins {
		topic := fmt.Sprintf("room:%d", n)
		c.Join(topic, struct{}{})
		b.publish(fmt.Sprintf("phx.topic.room.%d", n), fmt.Sprintf(`{"n":%d}`, n), "Phx-Event", "first")
		b.flush()
		c.WantEvent(topic, "first", map[string]int{"n": n})
	}
}

// The join reply comes before any broadcast, and none comes after the close.
func TestJoinReplyComesFirst(t *testing.T) {
	t.Parallel()
	const rounds = 200
	g, b := setup(t, everything)
	noise(t, b.nc.ConnectedUrl(), 1, "phx.topic.room.hot")
	other := g.dial(t, phxtest.Name("other"))
	other.Join("room:hot", struct{}{}) // the gateway is subscribed throughout
	c := g.dial(t)
	for n := range rounds {
		join := c.StartJoin("room:hot", struct{}{})
		m, err := phxtest.ParseMessage(c.Recv(phxtest.Patience()))
		if err != nil || m.Event != "phx_reply" || m.Ref != join {
			t.Fatalf("round %d: first frame of the channel: %s %v (%v)", n, m.Event, m.Ref, err)
		}
		if m, err := phxtest.ParseMessage(c.Recv(phxtest.Patience())); err != nil || m.Event != "noise" {
			t.Fatalf("round %d: after the reply: %s (%v)", n, m.Event, err)
		}
		leave := c.Push("room:hot", "phx_leave", struct{}{})
		if m := recvUnless(t, c, "noise"); m.Ref != leave {
			t.Fatalf("round %d: %s %v, want the reply to the leave", n, m.Event, m.Ref)
		}
		if m := recvUnless(t, c, "noise"); m.Event != "phx_close" {
			t.Fatalf("round %d: %s, want phx_close", n, m.Event)
		}
		other.Drain()
	}
}

// What one client sends on a channel is handed on in that order, whatever its
// rules do.
func TestOrderOfOneClient(t *testing.T) {
	t.Parallel()
	const events = 600
	g, b := setup(t, `channels:
  - topic: "*"
    join: allow
    events:
      - {event: cast, do: cast}
      - {event: shout, do: broadcast_from}
      - {event: "*", do: call}
`)
	c := g.dial(t)
	all := b.listen("phx.>")
	c.Join("room:1", struct{}{})
	if msg := next(t, all); msg.Subject != "phx.joined.room.1" {
		t.Fatalf("got %s, want joined", msg.Subject)
	}
	for n := range events {
		c.Push("room:1", []string{"cast", "shout", "call"}[n%3], map[string]int{"n": n})
	}
	for n := range events {
		msg := next(t, all)
		var got struct {
			N       *int
			Payload struct{ N *int }
		}
		if err := json.Unmarshal(msg.Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.N == nil {
			got.N = got.Payload.N
		}
		if got.N == nil || *got.N != n {
			t.Fatalf("event %d: got %s %s", n, msg.Subject, msg.Data)
		}
		if n%3 == 2 {
			reply(msg, "")
		} else if msg.Reply != "" {
			t.Errorf("%s has a reply subject", msg.Subject)
		}
	}
}
