//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ran is what came out of a run of the program.
type ran struct {
	exit           int
	stdout, stderr string
	result         *result // nil if none was written
}

// mustRun runs the program with args and a JSON file.
func mustRun(t *testing.T, args ...string) ran {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	var stdout, stderr bytes.Buffer
	exit := run(t.Context(), append(args, "--json", file), output{stdout: &stdout, stderr: &stderr})
	r := ran{exit: exit, stdout: stdout.String(), stderr: stderr.String()}
	if text, err := os.ReadFile(file); err == nil {
		r.result = &result{}
		if err := json.Unmarshal(text, r.result); err != nil {
			t.Fatalf("result %s: %v", text, err)
		}
	}
	return r
}

// wantResult ends the test unless the run wrote a result and had this exit status.
func (r ran) wantResult(t *testing.T, exit int) *result {
	t.Helper()
	if r.result == nil || r.exit != exit {
		t.Fatalf("exit status %d, want %d; stdout: %s; stderr: %s", r.exit, exit, r.stdout, r.stderr)
	}
	return r.result
}

func TestBadUsage(t *testing.T) {
	for _, args := range []string{
		"", "nothing", "idle --clients 0", "idle --clients x", "idle --nosuch", "idle extra", "idle --url http://localhost/",
		"idle --url ws://", "idle --params {", "idle --topic a%db%d", "idle --topic 100%", "idle --hold -1s", "idle --rate -1",
		"idle --pid 0", "idle --loops 0", "idle --inflight 0", "idle --source ::1", "idle --clients 100000000",
		"idle --url ws://192.0.2.1/socket --clients 30000",
		"fanout --topic room:%d", "fanout --size 10", "fanout --window 0", "fanout --via pigeon", "fanout --duration 0s",
		"floor --listen nowhere", "floor --nosuch",
	} {
		var stdout, stderr bytes.Buffer
		if exit := run(t.Context(), strings.Fields(args), output{stdout: &stdout, stderr: &stderr}); exit != exitUsage || stderr.Len() == 0 {
			t.Errorf("%q: exit status %d, want %d; stderr %q", args, exit, exitUsage, stderr.String())
		}
	}
}

func TestHelp(t *testing.T) {
	for args, want := range map[string]string{
		"--help": "fanout", "help": "fanout", "idle --help": "room:%d", "fanout -h": "-window", "floor --help": "127.0.0.1:4100",
	} {
		var stdout, stderr bytes.Buffer
		exit := run(t.Context(), strings.Fields(args), output{stdout: &stdout, stderr: &stderr})
		if exit != exitOK || !strings.Contains(stdout.String(), want) || stderr.Len() > 0 {
			t.Errorf("%q: exit status %d, stdout %q, stderr %q", args, exit, stdout.String(), stderr.String())
		}
	}
}

func TestUnreachable(t *testing.T) {
	url, stop := startFloor(t, false)
	stop() // nobody listens there any more
	r := mustRun(t, "idle", "--url", url, "--clients", "3").wantResult(t, exitFailed)
	if r.Joined != 0 || r.Errors["connect: connection refused"] != 3 {
		t.Errorf("joined %d, errors %v", r.Joined, r.Errors)
	}
}

func TestInterrupted(t *testing.T) {
	url, _ := startFloor(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	exit := run(ctx, []string{"idle", "--url", url, "--clients", "3", "--hold", "1h"}, output{stdout: &stdout, stderr: &stderr})
	if exit != exitFailed || !strings.Contains(stdout.String(), "interrupted") {
		t.Errorf("exit status %d, stdout %q, stderr %q", exit, stdout.String(), stderr.String())
	}
}

func TestUpgradeRequest(t *testing.T) {
	for url, want := range map[string]string{
		"ws://h:1/socket":                     "GET /socket/websocket?vsn=2.0.0 HTTP/1.1",
		"ws://h:1/socket/":                    "GET /socket/websocket?vsn=2.0.0 HTTP/1.1",
		"ws://h:1/my%20socket?token=a%26b&x=": "GET /my%20socket/websocket?token=a%26b&x=&vsn=2.0.0 HTTP/1.1",
	} {
		target, err := newTarget(&config{topic: "t", params: "{}"}, "ws://127.0.0.1:1"+strings.TrimPrefix(url, "ws://h:1"), 1)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(string(target.request), "\r\n"); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestSources(t *testing.T) {
	c := &config{url: "ws://127.0.0.1:4000/socket", topic: "t", params: "{}"}
	for clients, want := range map[int]int{1: 0, clientsPerSource: 0, clientsPerSource + 1: 2, 3 * clientsPerSource: 3} {
		target, err := newTarget(c, c.url, clients)
		if err != nil || len(target.sources) != want {
			t.Errorf("%d clients: %d local addresses, want %d; %v", clients, len(target.sources), want, err)
		}
	}
}
