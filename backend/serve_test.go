package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// fakeConn is a Conn whose subscriptions are served by send. All methods may be used at once.
type fakeConn struct {
	mu            sync.Mutex
	messages      chan *nats.Msg
	subscriptions []string // "subject queue"
	published     []string // "subject headers body"
	away          int      // so many flushes run into their deadline
}

func (c *fakeConn) PublishMsg(msg *nats.Msg) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published = append(c.published, strings.TrimSpace(fmt.Sprint(msg.Subject, " ", header(msg, "Phx-Status")+header(msg, "Phx-Action"), " ", string(msg.Data))))
	return nil
}

func (c *fakeConn) RequestMsgWithContext(context.Context, *nats.Msg) (*nats.Msg, error) {
	return nil, nats.ErrNoResponders
}

func (c *fakeConn) ChanQueueSubscribe(subject, queue string, messages chan *nats.Msg) (*nats.Subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = messages
	c.subscriptions = append(c.subscriptions, subject+" "+queue)
	return &nats.Subscription{Subject: subject}, nil
}

func (c *fakeConn) FlushWithContext(ctx context.Context) error {
	if c.away > 0 {
		c.away--
		<-ctx.Done()
	}
	return ctx.Err()
}

// take returns what was published since the last take.
func (c *fakeConn) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	published := c.published
	c.published = nil
	return published
}

// send delivers a call of one channel.
func (c *fakeConn) send(subject, channel, reply string) {
	msg := &nats.Msg{Subject: subject, Reply: reply}
	setHeader(msg, "Phx-Channel", channel)
	c.messages <- msg
}

// serve runs a Backend in a bubble until the returned function is called, which returns what Serve said.
func serve(t *testing.T, c *fakeConn, options Options, register func(*Backend)) (stop func() error) {
	t.Helper()
	options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	register(b)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }()
	<-b.Ready()
	return func() error {
		cancel()
		return <-ended
	}
}

func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeConn{away: 3} // NATS may come late
		nop := func(context.Context, *Event) error { return nil }
		stop := serve(t, c, Options{Prefix: "a.b", Queue: "chat"}, func(b *Backend) {
			b.Topic("room:*").Cast("x", nop).Cast("y*", nop).Joined(nop)
			b.Topic("room:a*").Cast("x", nop)
			b.Topic("lobby").AuthorizeJoin(func(context.Context, *JoinRequest) (JoinReply, error) { return JoinReply{}, nil }).
				Left(func(context.Context, *Event, string) error { return nil })
			b.AuthorizeConnect(func(context.Context, *ConnectRequest) (ConnectReply, error) { return ConnectReply{}, nil })
			b.GatewayLost(func(context.Context, string) error { return nil })
		})
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := []string{"a.b.authz.connect chat", "a.b.authz.join chat", "a.b.authz.joins chat", "a.b.event.*.room.> chat", "a.b.event.x.room.> chat", "a.b.gateway.lost chat", "a.b.joined.room.> chat", "a.b.left.lobby chat"}
		if !slices.Equal(c.subscriptions, want) {
			t.Errorf("subscribed to %q, want %q", c.subscriptions, want)
		}
	})
}

// A slow event holds up its channel alone. HandleConcurrent does not even do that.
func TestServeOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(fakeConn)
		wait := func(ctx context.Context, e *Event) (Reply, error) {
			<-time.After(time.Second)
			return OK(e.Name), nil
		}
		stop := serve(t, c, Options{}, func(b *Backend) {
			b.Topic("room:*").Handle("slow", wait).HandleConcurrent("free", wait).
				Handle("quick", func(context.Context, *Event) (Reply, error) { return OK("quick"), nil })
		})
		c.send("phx.event.slow.room.1", "g.s.1", "r1")
		c.send("phx.event.quick.room.1", "g.s.1", "r2")
		c.send("phx.event.quick.room.1", "g.s.2", "r3")
		c.send("phx.event.free.room.1", "g.s.3", "r4")
		c.send("phx.event.quick.room.1", "g.s.3", "r5")
		synctest.Wait()
		want := []string{`r3  "quick"`, `r5  "quick"`}
		got := c.take()
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("at once: %q, want %q", got, want)
		}
		if err := stop(); err != nil { // which waits for the slow ones
			t.Error(err)
		}
		got = c.take()
		at := func(line string) int { return slices.Index(got, line) }
		if len(got) != 3 || at(`r1  "slow"`) < 0 || at(`r1  "slow"`) > at(`r2  "quick"`) || at(`r4  "free"`) < 0 {
			t.Errorf("then: %q", got)
		}
	})
}

func TestServeOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(fakeConn)
		stop := serve(t, c, Options{Workers: 1, Waiting: 1}, func(b *Backend) {
			b.Topic("*").Handle("*", func(context.Context, *Event) (Reply, error) {
				<-time.After(time.Second)
				return OK(1), nil
			})
			b.AuthorizeConnect(func(context.Context, *ConnectRequest) (ConnectReply, error) { return ConnectReply{}, nil })
		})
		for i, reply := range []string{"r1", "r2", "r3", ""} {
			c.send("phx.event.x.room.1", fmt.Sprint("g.s.", i), reply)
			synctest.Wait()
		}
		c.send("phx.authz.connect", "", "r4")
		c.send("phx.event.=x.room", "g.s.1", "r5") // no gateway sends this
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got, want := c.take(), []string{`r3 error {"reason":"overloaded"}`, `r4  {"error":"internal"}`, "r1  1", "r2  1"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// A handler that its own Timeout does not end is cancelled by the drain's.
func TestServeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(fakeConn)
		start := time.Now()
		ended := make(map[string]time.Duration)
		var mu sync.Mutex
		stop := serve(t, c, Options{Timeout: 5 * time.Second, DrainTimeout: 2 * time.Second}, func(b *Backend) {
			b.Topic("*").Handle("*", func(ctx context.Context, e *Event) (Reply, error) {
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				ended[e.Name] = time.Since(start)
				return Reply{}, ctx.Err()
			})
		})
		c.send("phx.event.first.room", "g.s.1", "r1")
		time.Sleep(6 * time.Second) // of the bubble
		c.send("phx.event.second.room", "g.s.1", "r2")
		synctest.Wait()
		if err := stop(); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a drain that took too long: %v", err)
		}
		if ended["first"] != 5*time.Second || ended["second"] != 8*time.Second {
			t.Errorf("handlers ended after %v", ended)
		}
		if got, want := c.take(), []string{"r1 crash", "r2 crash"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestServeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served *Backend
		stop := serve(t, new(fakeConn), Options{}, func(b *Backend) { served = b })
		if err := served.Serve(context.Background()); !errors.Is(err, ErrServed) {
			t.Error(err)
		}
		defer func() {
			if recover() == nil {
				t.Error("a topic is taken while it serves")
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		served.Topic("late")
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Prefix: "a..b"}, {Prefix: "$SYS"}, {Prefix: "_INBOX"}, {Prefix: strings.Repeat("a", 65)}, {Queue: "a b"}, {Workers: -1}, {Waiting: -1}, {Timeout: -1}, {DrainTimeout: -1}} {
		if _, err := New(new(fakeConn), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
