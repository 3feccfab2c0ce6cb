//go:build linux

package main

import (
	"context"
	"math"
	"os"
	"strconv"
	"testing"
)

// startFloor serves until stop, which is called at the end of the test at the latest.
func startFloor(t *testing.T, coalesce bool) (url string, stop func()) {
	t.Helper()
	s, address, err := newFloor("127.0.0.1:0", coalesce)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{}) // closed when serve has returned
	go func() {
		defer close(served)
		if err := s.serve(ctx); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-served
	}
	t.Cleanup(stop)
	return "ws://" + address.String() + "/socket", stop
}

func TestIdleOnFloor(t *testing.T) {
	url, _ := startFloor(t, false)
	for _, topic := range []string{"room:%d", `one "topic" for all`} {
		for _, loops := range []string{"1", "3"} {
			r := mustRun(t, "idle", "--url", url, "--clients", "50", "--hold", "250ms", "--heartbeat", "100ms", "--topic", topic,
				"--loops", loops, "--pid", strconv.Itoa(os.Getpid())).wantResult(t, exitOK)
			if r.Joined != 50 || r.ConnectJoin.Count != 50 || r.ErrorsTotal != 0 || r.Idle.HoldSeconds < 0.25 || r.Idle.RSSAfter == 0 {
				t.Errorf("%s: %+v, %+v", topic, r, r.Idle)
			}
		}
	}
}

func TestRate(t *testing.T) {
	url, _ := startFloor(t, false)
	r := mustRun(t, "idle", "--url", url, "--clients", "21", "--rate", "200", "--hold", "0s").wantResult(t, exitOK)
	if r.ConnectSeconds < 0.1 {
		t.Errorf("21 clients at 200 per second in %v s, want at least 0.1", r.ConnectSeconds)
	}
}

func TestFanoutOnFloor(t *testing.T) {
	for _, coalesce := range []bool{false, true} {
		url, _ := startFloor(t, coalesce)
		for _, more := range [][]string{
			{"--window", "1"},
			{"--window", "32", "--loops", "2"},
			{"--window", "4", "--size", "100000"},
			{"--publish-rate", "200"},
		} {
			args := append([]string{"fanout", "--url", url, "--clients", "50", "--warmup", "50ms", "--duration", "300ms",
				"--topic", `room:"x"`}, more...)
			r := mustRun(t, args...).wantResult(t, exitOK)
			if f := r.Fanout; f.Deliveries == 0 || f.Lost+f.Duplicated+f.OutOfOrder+f.Incomplete != 0 || f.Latency.Count == 0 || f.Latency.Max == 0 {
				t.Errorf("coalesce %v, %v: %+v", coalesce, more, f)
			}
			if f := r.Fanout; more[0] == "--publish-rate" && math.Abs(float64(f.Published)-200*f.Seconds) > 20 {
				t.Errorf("%d broadcasts in %v s at 200 a second", f.Published, f.Seconds)
			}
		}
	}
}
