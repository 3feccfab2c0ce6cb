package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// Where patterns overlap an event is handled once, by the first; backends of one queue share; a neighbour's events are left alone.
func TestOverlaps(t *testing.T) {
	a := start(t, "CONNECT_AUTH=allow")
	say := func(word string, count *atomic.Int64) backend.Handler {
		return func(context.Context, *backend.Event) (backend.Reply, error) {
			count.Add(1)
			return backend.OK(word), nil
		}
	}
	var vip, all, other atomic.Int64
	register := func(b *backend.Backend) {
		b.Topic("open:vip*").Handle("a", say("vip", &vip))
		b.Topic("open:*").Handle("a", say("a", &all)).Handle("a*", say("a*", &all))
	}
	a.serve(backend.Options{}, register)
	a.serve(backend.Options{}, register)
	a.serve(backend.Options{Queue: "other"}, func(b *backend.Backend) {
		b.Topic("open:x*").Handle("b", say("b", &other)).Handle("z*", say("z", &other))
	})
	c := a.dial(t, "")
	for _, topic := range []string{"open:vip1", "open:lobby", "open:x"} {
		c.Join(topic, struct{}{})
	}
	const rounds = 50
	for range rounds {
		for _, step := range []struct{ topic, event, want string }{
			{"open:vip1", "a", `"vip"`}, {"open:lobby", "a", `"a"`}, {"open:lobby", "ab", `"a*"`}, {"open:x", "b", `"b"`}, {"open:x", "zoo", `"z"`},
		} {
			if got := c.Call(step.topic, step.event, struct{}{}, "ok"); string(got) != step.want {
				t.Fatalf("%s %s: %s, want %s", step.topic, step.event, got, step.want)
			}
		}
	}
	if vip.Load() != rounds || all.Load() != 2*rounds || other.Load() != 2*rounds {
		t.Errorf("handled %d, %d and %d times", vip.Load(), all.Load(), other.Load())
	}
}

// What has come is answered when Serve ends, and nothing after that comes.
func TestDrain(t *testing.T) {
	a := start(t, "CONNECT_AUTH=allow")
	release := make(chan struct{})
	var begun sync.WaitGroup
	begun.Add(3)
	stop := a.serve(backend.Options{}, func(b *backend.Backend) {
		b.Topic("open:*").HandleConcurrent("wait", func(context.Context, *backend.Event) (backend.Reply, error) {
			begun.Done()
			<-release
			return backend.Reply{}, nil
		})
	})
	var clients []*phxtest.Client
	var refs []string
	for i := range 3 {
		c := a.dial(t, "")
		topic := fmt.Sprint("open:", i)
		c.Join(topic, struct{}{})
		refs = append(refs, c.Push(topic, "wait", struct{}{}))
		clients = append(clients, c)
	}
	begun.Wait()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	waitFor(t, "the end of the subscription", func() bool {
		_, err := a.nc.Request("phx.event.wait.open.probe", []byte("{}"), phxtest.Patience())
		return errors.Is(err, nats.ErrNoResponders)
	})
	close(release)
	<-stopped
	for i, c := range clients {
		c.WantReply(refs[i], "ok")
	}
	if got := clients[0].Call("open:0", "wait", struct{}{}, "error"); !strings.Contains(string(got), "no backend") {
		t.Errorf("after the drain: %s", got)
	}
}
