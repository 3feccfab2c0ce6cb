package nats

import (
	"context"
	"fmt"
	"testing"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestConfirmationIsInForce subscribes 2,000 topics at once and publishes on each the moment it is confirmed: nothing may fall between.
func TestConfirmationIsInForce(t *testing.T) {
	t.Parallel()
	const topics = 2000
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	nc := backend(t, url)
	failed := make(chan error, topics)
	for i := range topics {
		b.Subscribe(fmt.Sprintf("room:%d", i), func(err error) {
			if err == nil {
				err = nc.Publish(fmt.Sprintf("phx.topic.room.%d", i), []byte(`{"event":"e","payload":{}}`))
			}
			failed <- err
		})
	}
	for range topics {
		if err := within(t, "confirmation", failed); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "a broadcast of each topic", func() bool { return r.len() >= topics })
	for i := range topics {
		if n := r.count(fmt.Sprintf("topic room:%d e {}", i)); n != 1 {
			t.Errorf("room:%d: %d broadcasts, want 1", i, n)
		}
	}
}

// TestSubscribeAgainInARow: people leave and come back before anything was confirmed.
func TestSubscribeAgainInARow(t *testing.T) {
	t.Parallel()
	url := phxtest.StartNATS(t)
	b, r := startBus(t, url)
	nc := backend(t, url)
	for round := range 100 {
		topic := fmt.Sprintf("room:%d", round)
		confirmed := make(chan error, 3)
		for i := range 3 {
			b.Subscribe(topic, func(err error) { confirmed <- err })
			if i < 2 {
				b.Unsubscribe(topic)
			}
		}
		for range 3 {
			if err := within(t, "confirmation", confirmed); err != nil {
				t.Fatalf("%s: %v", topic, err)
			}
		}
		publish(t, nc, fmt.Sprintf("phx.topic.room.%d", round), `{"event":"e","payload":{}}`)
		line := "topic " + topic + " e {}"
		waitFor(t, line, func() bool { return r.count(line) == 1 })
	}
	// One subscription each: nothing came twice, and unsubscribing ends all.
	subscribe(t, b, "room:end")
	for round := range 100 {
		b.Unsubscribe(fmt.Sprintf("room:%d", round))
	}
	subscribe(t, b, "room:after") // every command before it is done
	for round := range 100 {
		publish(t, nc, fmt.Sprintf("phx.topic.room.%d", round), `{"event":"gone","payload":{}}`)
	}
	publish(t, nc, "phx.topic.room.end", `{"event":"e","payload":{}}`)
	waitFor(t, "the last broadcast", func() bool { return r.count("topic room:end e {}") == 1 })
	if n := r.len(); n != 101 {
		t.Errorf("%d messages, want 101: a topic came twice or after its end", n)
	}
	if n := b.nc().NumSubscriptions(); n != 7 {
		t.Errorf("%d subscriptions at NATS, want the five fixed ones and two topics", n)
	}
}

// TestOutboundFull: a writer that does not keep up makes publishes fail at once; subscriptions always have room.
func TestOutboundFull(t *testing.T) {
	t.Parallel()
	b := dialBus(t, phxtest.StartNATS(t)) // never started: nobody writes
	defer func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // nothing that waits will go
		b.Close(ended)
	}()
	waitFor(t, "the bus is up", func() bool { return b.Available() })
	e := &gateway.Event{Topic: "room:a", Name: "e", Payload: make([]byte, 1<<20-1000)}
	taken := 0
	for ; taken < 100; taken++ {
		if err := b.Cast(e); err == gateway.ErrUnavailable {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if size := taken * len(e.Payload); size > outboundBytes || size < outboundBytes-2<<20 {
		t.Errorf("%d casts of %d bytes were taken, the bound is %d", taken, len(e.Payload), outboundBytes)
	}
	called := false
	if err := b.Call(e, 0, func(*gateway.Answer, error) { called = true }); err != gateway.ErrUnavailable || called {
		t.Errorf("call: %v, called back %v; want ErrUnavailable alone", err, called)
	}
	b.Subscribe("room:a", func(error) {})
	if n := len(b.out.queue); n != taken+1 {
		t.Errorf("%d commands wait, want the casts and the subscription", n)
	}
}
