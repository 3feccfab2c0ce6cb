//go:build linux

package main

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// faults are what a faulty server does wrong; the zero value does nothing wrong.
type faults struct {
	refuse   bool                                     // answers the handshake with 403
	reply    string                                   // instead of {"status":"ok","response":{}} to joins
	deaf     bool                                     // does not answer heartbeats
	deliver  func(member, n int, frame []byte) []byte // what a member gets for the n-th broadcast; not who pushed it
	pushed   string                                   // reply to each push, if any
	farewell int                                      // after so many broadcasts, a member is closed with 1012
}

// faultyServer is a Phoenix server made of goroutines, for tests that need one which misbehaves.
type faultyServer struct {
	faults
	mu      sync.Mutex
	members []net.Conn // that have joined, in that order
	count   int        // broadcasts so far
}

func startFaulty(t *testing.T, f faults) (url string, s *faultyServer) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &faultyServer{faults: f}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				s.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		cancel()
		running.Wait()
	})
	return "ws://" + listener.Addr().String() + "/socket", s
}

// serve handles one connection until it ends. Its errors do not matter: the client's report is what is tested.
func (s *faultyServer) serve(conn net.Conn) {
	if s.refuse {
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	if _, err := ws.Upgrade(conn); err != nil {
		return
	}
	for {
		text, err := wsutil.ReadClientText(conn)
		if err != nil {
			return
		}
		m, _ := parseMessage(text)
		s.mu.Lock()
		switch string(m.event) {
		case `"phx_join"`:
			status := `{"status":"ok","response":{}}`
			if s.reply != "" {
				status = s.reply
			}
			_ = wsutil.WriteServerText(conn, []byte(`["1","1",`+string(m.topic)+`,"phx_reply",`+status+`]`))
			s.members = append(s.members, conn)
		case `"heartbeat"`:
			if !s.deaf {
				_ = wsutil.WriteServerText(conn, []byte(`[null,"h","phoenix","phx_reply",{"status":"ok","response":{}}]`))
			}
		default:
			if s.pushed != "" {
				_ = wsutil.WriteServerText(conn, []byte(`["1","p",`+string(m.topic)+`,"phx_reply",`+s.pushed+`]`))
				break
			}
			s.fanOutLocked(conn, string(m.fromTopic))
		}
		s.mu.Unlock()
	}
}

// fanOutLocked broadcasts what pusher sent, nil for a backend.
func (s *faultyServer) fanOutLocked(pusher net.Conn, fromTopic string) {
	s.count++
	frame := appendFrame(nil, opText, false, []byte("[null,null,"+fromTopic))
	member := 0
	for _, conn := range s.members {
		if conn == pusher || s.deliver == nil {
			_, _ = conn.Write(frame)
		} else {
			_, _ = conn.Write(s.deliver(member, s.count, frame))
		}
		if conn != pusher {
			if member++; member == 1 && s.farewell == s.count {
				_ = ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(1012, "")))
			}
		}
	}
}

// fanoutOn runs a short fanout to 10 members that is expected to end badly.
func fanoutOn(t *testing.T, url string, more ...string) *result {
	t.Helper()
	args := []string{"fanout", "--url", url, "--clients", "10", "--warmup", "30ms", "--duration", "150ms", "--give-up", "100ms"}
	return mustRun(t, append(args, more...)...).wantResult(t, exitFailed)
}

func TestLost(t *testing.T) {
	for _, window := range []string{"1", "4"} {
		url, _ := startFaulty(t, faults{deliver: func(member, n int, frame []byte) []byte {
			if member == 5 && n == 3 {
				return nil
			}
			return frame
		}})
		f := fanoutOn(t, url, "--window", window).Fanout
		if f.Lost != 1 || f.Duplicated != 0 || f.OutOfOrder != 0 || f.Incomplete != 1 || f.Published < 5 {
			t.Errorf("window %s: %+v", window, f)
		}
	}
}

func TestDuplicated(t *testing.T) {
	url, _ := startFaulty(t, faults{deliver: func(member, n int, frame []byte) []byte {
		if member == 5 && n == 3 {
			return append(frame, frame...)
		}
		return frame
	}})
	if f := fanoutOn(t, url).Fanout; f.Lost != 0 || f.Duplicated != 1 || f.OutOfOrder != 0 {
		t.Errorf("%+v", f)
	}
}

func TestOutOfOrder(t *testing.T) {
	var held []byte
	url, _ := startFaulty(t, faults{deliver: func(member, n int, frame []byte) []byte {
		switch {
		case member == 5 && n == 3:
			held = frame
			return nil
		case member == 5 && n == 4:
			return append(append([]byte(nil), frame...), held...)
		}
		return frame
	}})
	if f := fanoutOn(t, url, "--window", "2").Fanout; f.Lost != 0 || f.Duplicated != 0 || f.OutOfOrder != 1 {
		t.Errorf("%+v", f)
	}
}

func TestCutOff(t *testing.T) {
	url, _ := startFaulty(t, faults{farewell: 3})
	r := fanoutOn(t, url)
	if r.Errors["joined: closed by server, 1012"] != 1 || r.ErrorsTotal != 1 {
		t.Errorf("errors %v", r.Errors)
	}
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		faults faults
		args   []string
		want   string
	}{
		"handshake": {faults{refuse: true}, nil, "upgrade: HTTP 403"},
		"join":      {faults{reply: `{"response":{"reason":"unauthorized"},"status":"error"}`}, nil, `join: refused, {"reason":"unauthorized"}`},
		"heartbeat": {faults{deaf: true}, []string{"--heartbeat", "30ms", "--hold", "200ms"}, "joined: heartbeat not answered"},
		"reply":     {faults{reply: `{}],`}, nil, "join: refused, "},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := startFaulty(t, test.faults)
			r := mustRun(t, append([]string{"idle", "--url", url, "--clients", "2", "--hold", "0s"}, test.args...)...).wantResult(t, exitFailed)
			if r.Errors[test.want] != 2 || r.ErrorsTotal != 2 {
				t.Errorf("errors %v, want 2 of %q", r.Errors, test.want)
			}
		})
	}
}

func TestPushRefused(t *testing.T) {
	url, _ := startFaulty(t, faults{pushed: `{"status":"error","response":{"reason":"rate limited"}}`})
	r := fanoutOn(t, url)
	if n := r.Errors[`push: refused, {"reason":"rate limited"}`]; n == 0 || r.Fanout.Lost != int64(10*n) {
		t.Errorf("errors %v, lost %d", r.Errors, r.Fanout.Lost)
	}
}

func TestTimeout(t *testing.T) {
	// The kernel accepts connections; nobody answers.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := mustRun(t, "idle", "--url", "ws://"+listener.Addr().String()+"/socket", "--clients", "2", "--timeout", "50ms").wantResult(t, exitFailed)
	if r.Errors["timeout: upgrade"] != 2 || r.ErrorsTotal != 2 {
		t.Errorf("errors %v", r.Errors)
	}
}

func TestFanoutViaNATS(t *testing.T) {
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	})
	url, s := startFaulty(t, faults{})
	// Between NATS and the members: what a gateway does with an envelope.
	conn, err := nats.Connect(broker.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	var bad []string // bodies that are not the envelope; guarded by s.mu
	_, err = conn.Subscribe("phx.topic.room.fanout", func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		payload := field(m.Data, "payload")
		if string(field(m.Data, "event")) != `"shout"` || payload == nil {
			bad = append(bad, string(m.Data))
			return
		}
		s.fanOutLocked(nil, `"room:fanout","shout",`+string(payload)+"]")
	})
	if err != nil || conn.Flush() != nil {
		t.Fatalf("subscribe: %v", err)
	}
	r := mustRun(t, "fanout", "--url", url, "--clients", "10", "--warmup", "30ms", "--duration", "150ms", "--via", "nats",
		"--nats", broker.ClientURL(), "--event", "shout").wantResult(t, exitOK)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Fanout.Deliveries == 0 || r.Joined != 10 || bad != nil {
		t.Errorf("%+v; bad publishes: %q", r.Fanout, bad)
	}
}
