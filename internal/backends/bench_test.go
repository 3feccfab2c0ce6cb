package backends

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/phxgate/phxgate/backend"
)

// BenchmarkCall is the round trip of a client's call through gateway, NATS and a Go backend and back, with so many in flight, each on a socket of its own. Clients, NATS and the
// backend are this process; the gateway is another, whose CPU time (user and system) is divided by the calls.
func BenchmarkCall(b *testing.B) {
	for _, inFlight := range []int{1, 1000} {
		b.Run(fmt.Sprint("in-flight=", inFlight), func(b *testing.B) {
			a := start(b, "CONNECT_AUTH=allow")
			a.serve(backend.Options{}, func(served *backend.Backend) {
				served.Topic("open:*").Handle("echo", func(_ context.Context, e *backend.Event) (backend.Reply, error) {
					return backend.OK(json.RawMessage(e.Payload)), nil
				})
			})
			measure(b, a, inFlight, func(c *caller) error {
				_, err := c.ask("1", c.topic("open"), "echo", `{"body":"hello"}`)
				return err
			}, func(c *caller) error {
				_, err := c.ask("1", c.topic("open"), "phx_join", `{}`)
				return err
			}, nil)
		})
	}
}

// BenchmarkJoin is the time of a join through an AuthorizeJoin, whose answer has a response and assigns. Each is followed by a leave, which is in the CPU time and not in the latency.
func BenchmarkJoin(b *testing.B) {
	for _, inFlight := range []int{1, 1000} {
		b.Run(fmt.Sprint("in-flight=", inFlight), func(b *testing.B) {
			a := start(b, "CONNECT_AUTH=allow")
			a.serve(backend.Options{}, func(served *backend.Backend) {
				served.Topic("room:*").AuthorizeJoin(func(context.Context, *backend.JoinRequest) (backend.JoinReply, error) {
					return backend.JoinReply{Response: map[string]string{"role": "member"}, Assigns: map[string]string{"role": "member"}}, nil
				})
			})
			measure(b, a, inFlight, func(c *caller) (err error) {
				c.joinRef, err = c.ask("", c.topic("room"), "phx_join", `{}`)
				return err
			}, nil, func(c *caller) error {
				_, err := c.ask(c.joinRef, c.topic("room"), "phx_leave", `{}`)
				return err
			})
		})
	}
}

// measure has inFlight callers do b.N operations in all; before is done once by each and after behind each operation, neither timed.
func measure(b *testing.B, a *arena, inFlight int, operation, before, after func(*caller) error) {
	b.Helper()
	callers := make([]*caller, inFlight)
	for i := range callers {
		conn, _, _, err := ws.Dial(context.Background(), a.socketURL())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		callers[i] = &caller{number: i, conn: conn}
		if before != nil {
			if err := before(callers[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	var group sync.WaitGroup
	var left atomic.Int64
	var mu sync.Mutex
	times := hdrhistogram.New(1, 60e6, 3) // microseconds
	left.Store(int64(b.N))
	cpu := cpuTime(b, a.pid)
	b.ResetTimer()
	for _, c := range callers {
		group.Go(func() {
			var own []int64
			for left.Add(-1) >= 0 {
				begun := time.Now()
				err := operation(c)
				own = append(own, time.Since(begun).Microseconds())
				if err == nil && after != nil {
					err = after(c)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for _, t := range own {
				_ = times.RecordValue(t) // a minute at most
			}
		})
	}
	group.Wait()
	b.StopTimer()
	used := cpuTime(b, a.pid) - cpu
	b.ReportMetric(float64(times.ValueAtQuantile(50)), "p50-µs")
	b.ReportMetric(float64(times.ValueAtQuantile(99)), "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per-s")
	if used > 0 {
		b.ReportMetric(float64(b.N)/used.Seconds(), "per-gateway-CPU-s")
	}
}

// caller is a client that waits for each reply.
type caller struct {
	number, ref int
	conn        net.Conn
	joinRef     string
}

func (c *caller) topic(kind string) string { return kind + ":" + strconv.Itoa(c.number) }

// ask sends a message and waits for its reply, which must be ok. An empty join_ref is the ref, as a join has it. It returns the ref.
func (c *caller) ask(joinRef, topic, event, payload string) (ref string, err error) {
	c.ref++
	ref = strconv.Itoa(c.ref)
	if joinRef == "" {
		joinRef = ref
	}
	if err := wsutil.WriteClientText(c.conn, fmt.Appendf(nil, `["%s","%s","%s","%s",%s]`, joinRef, ref, topic, event, payload)); err != nil {
		return "", err
	}
	reply := fmt.Appendf(nil, `"%s","%s","phx_reply",{"status":`, ref, topic)
	for {
		frame, err := wsutil.ReadServerText(c.conn)
		switch {
		case err != nil:
			return "", err
		case bytes.Contains(frame, append(reply, `"ok"`...)):
			return ref, nil
		case bytes.Contains(frame, reply):
			return "", fmt.Errorf("%s: %s", event, frame)
		}
	}
}

// cpuTime is what a process has used, user and system together (proc(5), fields 14 and 15, in ticks of 10 ms).
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skipf("no CPU times here: %v", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
