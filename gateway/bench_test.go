package gateway

import (
	"fmt"
	"testing"

	"github.com/phxgate/phxgate/gateway/phx"
)

// BenchmarkFanOut is the way of a broadcast from the bus to the members' outboxes and out of them, on one loop. window is how many broadcasts a turn brings.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		for _, window := range []int{1, 32} {
			b.Run(fmt.Sprintf("members=%d/window=%d", n, window), func(b *testing.B) {
				l, bus := newTestLoop(b, nil)
				members(b, l, bus, "room:a", n, false, discarding())
				m := &Broadcast{Topic: "room:a", Event: "new_msg", Payload: []byte(`{"user":"ann","body":"a message of the usual length, some eighty bytes or so of it"}`)}
				b.ReportAllocs()
				turns := 0
				for b.Loop() {
					for range window {
						l.srv.Broadcast(m)
					}
					turn(l)
					turns++
				}
				deliveries := float64(turns) * float64(window) * float64(n)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
				b.ReportMetric(testing.AllocsPerRun(3, func() {
					for range window {
						l.srv.Broadcast(m)
					}
					turn(l)
				})/float64(window*n), "allocs/delivery")
			})
		}
	}
}

// BenchmarkPush is the way of a client's event from its bytes to the bus.
func BenchmarkPush(b *testing.B) {
	for _, event := range []string{"say", "seen"} {
		b.Run(map[string]string{"say": "broadcast", "seen": "cast"}[event], func(b *testing.B) {
			l, bus := newTestLoop(b, nil)
			ch := join(b, l, bus, openSocket(l, &fakeTransport{}, phx.V2), "room:a")
			frame := clientText(`["1","2","room:a","` + event + `",{"body":"hello, all of you who are here"}]`)
			buf := make([]byte, len(frame))
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, frame) // unmasked in place
				l.feed(ch.socket, buf)
				l.flushSockets()
			}
			if bus.broadcasts+bus.casts == 0 {
				b.Fatal("nothing reached the bus")
			}
		})
	}
}

// BenchmarkCall is a call and its answer, back to the client.
func BenchmarkCall(b *testing.B) {
	l, bus := newTestLoop(b, nil)
	ch := join(b, l, bus, openSocket(l, &fakeTransport{}, phx.V2), "room:a")
	frame := clientText(`["1","2","room:a","ask",{"body":"how are you?"}]`)
	buf := make([]byte, len(frame))
	answer := &Answer{Payload: []byte(`{"body":"well"}`)}
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, frame)
		l.feed(ch.socket, buf)
		bus.calls[0](answer, nil)
		bus.calls = bus.calls[:0]
		turn(l)
	}
}

// BenchmarkWaiting is what an event costs that waits behind a call, a thousand of them at a channel.
func BenchmarkWaiting(b *testing.B) {
	l, bus := newTestLoop(b, nil)
	ch := join(b, l, bus, openSocket(l, &fakeTransport{}, phx.V2), "room:a")
	payload := []byte(`{"body":"hello, all of you who are here"}`)
	b.ReportAllocs()
	for b.Loop() {
		for range maxWaiting {
			l.enqueue(ch, item{event: "ask", payload: payload})
		}
		for ch.queued() {
			l.dequeue(ch)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*maxWaiting), "ns/event")
}

// BenchmarkHeartbeat is what an idle client costs.
func BenchmarkHeartbeat(b *testing.B) {
	l, _ := newTestLoop(b, nil)
	s := openSocket(l, &fakeTransport{}, phx.V2)
	frame, _ := heartbeat("1")
	buf := make([]byte, len(frame))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, frame)
		l.feed(s, buf)
		l.flushSockets()
	}
}
