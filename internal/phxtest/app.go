package phxtest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// backlog is how many messages may wait for the app's backend.
const backlog = 65536

// App is the application that the transcripts expect behind the server: the
// channel "room:*", its join params and its events. It is built as a user
// would build it, from docs/contract.md and a NATS connection:
//
//   - <prefix>.authz.connect: refused where params.reject is "true"; the
//     socket id is "user_socket:<params.uid>" where there is a uid.
//   - <prefix>.authz.join: the join params deny, boom, sleep_ms, reply and
//     presence.
//   - <prefix>.joined.>: the join params greet and announce.
//   - <prefix>.event.>: the events; what is not listed crashes the channel.
type App struct {
	t      testing.TB
	prefix string
	nc     *nats.Conn
	ctx    context.Context // done when the app stops
	tasks  sync.WaitGroup  // answers in the making, each a goroutine
}

// StartApp connects to NATS and answers until the test ends. When it returns,
// the server it is connected to knows its subscriptions; others of a cluster
// may not yet.
func StartApp(t testing.TB, natsURL, prefix string) *App {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &App{t: t, prefix: prefix, ctx: ctx}
	var err error
	a.nc, err = nats.Connect(natsURL, nats.Name("phxtest app"), nats.Timeout(Patience()),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		cancel()
		t.Fatalf("app: connect %s: %v", natsURL, err)
	}
	messages := make(chan *nats.Msg, backlog)
	var loop sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		a.nc.Close() // no callback and no delivery is left after this
		loop.Wait()
		a.tasks.Wait()
	})
	loop.Go(func() { a.serve(messages) })
	// One Go channel and one reader for all: a channel's joined message and its
	// events are handled in the order NATS delivered them, and what the app
	// publishes for it goes out in that order on the one connection.
	for _, subject := range []string{"authz.connect", "authz.join", "joined.>", "event.>"} {
		if _, err := a.nc.ChanQueueSubscribe(prefix+"."+subject, "phxtest", messages); err != nil {
			t.Fatalf("app: subscribe %s: %v", subject, err)
		}
	}
	if err := a.nc.FlushTimeout(Patience()); err != nil {
		t.Fatalf("app: flush: %v", err)
	}
	return a
}

// RulesYAML is the channel rules that hand everything to the app.
func (a *App) RulesYAML() string {
	return `channels:
  - topic: "room:*"
    join: authz
    events:
      - {event: "*", do: call}
`
}

// RulesFile writes RulesYAML to a file that goes with the test, and returns
// its path, for CHANNELS_FILE.
func (a *App) RulesFile() string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), "channels.yaml")
	if err := os.WriteFile(path, []byte(a.RulesYAML()), 0o600); err != nil {
		a.t.Fatalf("app: %v", err)
	}
	return path
}

func (a *App) serve(messages <-chan *nats.Msg) {
	for {
		select {
		case msg := <-messages:
			a.handle(msg)
		case <-a.ctx.Done():
			return
		}
	}
}

func (a *App) handle(msg *nats.Msg) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(msg.Subject, a.prefix+"."), ".")
	switch {
	case kind == "authz" && rest == "connect":
		a.answer(msg, connect(msg.Data))
	case kind == "authz":
		// A slow join holds up nobody else.
		a.tasks.Go(func() { a.join(msg) })
	case kind == "joined":
		a.joined(msg, rest)
	case kind == "event":
		_, topic, _ := strings.Cut(rest, ".")
		a.event(msg, topic)
	}
}

// answer replies with JSON. An error means that NATS is away: the gateway's
// timeout is what the client sees then.
func (a *App) answer(msg *nats.Msg, reply any) {
	body, err := encodeJSON(reply)
	if err != nil {
		a.t.Errorf("app: answer %v: %v", reply, err)
		return
	}
	a.publish(&nats.Msg{Subject: msg.Reply, Data: body})
}

// publish puts a message on the one connection; see answer about errors.
func (a *App) publish(msg *nats.Msg) {
	if msg.Subject == "" { // a cast, or a request that somebody published
		return
	}
	if err := a.nc.PublishMsg(msg); err != nil && a.ctx.Err() == nil {
		a.t.Logf("app: publish %s: %v", msg.Subject, err)
	}
}

// after waits for d, false if the app stops first.
func (a *App) after(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// object returns the keys of a JSON object, none for any other value.
func object(text []byte) map[string]json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(text, &o) != nil {
		return nil
	}
	return o
}

// milliseconds reads a duration such as sleep_ms: 300; zero if it is none.
func milliseconds(text json.RawMessage) time.Duration {
	var ms float64
	if json.Unmarshal(text, &ms) != nil || ms < 0 || ms > 60_000 {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}
