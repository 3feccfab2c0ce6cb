package nats

import (
	"net"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// startWithout starts a NATS server on a port whose only user may subscribe to everything but one subject.
func startWithout(t *testing.T, port int, denied string) *server.Server {
	t.Helper()
	permissions := &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{denied}}}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, Users: []*server.User{{Username: "gateway", Password: "x", Permissions: permissions}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(phxtest.Patience()) {
		t.Fatal("no NATS server")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// TestRefusedAfterReconnect: a topic whose subscription was in force, and is refused when it is sent again, is named once; the next join is refused; when the
// permission is back it works.
func TestRefusedAfterReconnect(t *testing.T) {
	t.Parallel()
	s := startWithout(t, server.RANDOM_PORT, "other")
	port := s.Addr().(*net.TCPAddr).Port
	url := "nats://gateway:x@127.0.0.1:" + strconv.Itoa(port)
	b, r := startBus(t, url)
	subscribe(t, b, "room:a", "room:b")

	s.Shutdown()
	s.WaitForShutdown()
	s = startWithout(t, port, "phx.topic.room.a")
	waitFor(t, "the refusal", func() bool { return r.count("refused room:a") == 1 })
	waitFor(t, "the gap", func() bool { return r.count("gap") == 1 })
	again := func(topic string) error {
		confirmed := make(chan error, 1)
		b.Subscribe(topic, func(err error) { confirmed <- err })
		return within(t, "confirmation", confirmed)
	}
	if err := again("room:a"); err != gateway.ErrUnavailable {
		t.Errorf("confirmed anew: %v, want %v", err, gateway.ErrUnavailable)
	}
	b.Unsubscribe("room:a") // as the gateway does
	if err := again("room:a"); err != gateway.ErrUnavailable {
		t.Errorf("subscribed anew: %v, want %v", err, gateway.ErrUnavailable)
	}
	b.Unsubscribe("room:a")
	if err := again("room:b"); err != nil {
		t.Errorf("the topic beside it: %v", err)
	}
	if n := r.count("refused room:a"); n != 1 {
		t.Errorf("refused %d times: a join's refusal is the join's alone", n)
	}

	s.Shutdown()
	s.WaitForShutdown()
	startWithout(t, port, "other")
	waitFor(t, "the bus is up", func() bool { return r.count("gap") == 2 && b.Available() })
	subscribe(t, b, "room:a", "room:b")
	arrives(t, backend(t, url), r, "phx.topic.room.a", "topic room:a back {}")
	if r.count("refused room:b") != 0 {
		t.Error("a permitted topic was refused")
	}
}
