package contracttest

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// runGateway runs the program to its end, at most for patience, and returns
// its status and what it wrote.
func runGateway(t *testing.T, args []string, settings ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), gatewayBinary, args...)
	cmd.WaitDelay = phxtest.Patience()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(baseEnv(), settings...)
	g := &gateway{t: t, cmd: cmd, stderr: new(output), ended: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(g.ended); _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill(); <-g.ended }()
	status = g.wantExit(phxtest.Patience())
	return status, out.String(), errs.String()
}

// variables are those of the table, with their defaults; an empty one is not
// looked at ("none", or what the machine says).
var variables = []struct{ name, def string }{
	{"LISTEN", ":4000"},
	{"SOCKET_PATH", "/socket"},
	{"TLS_CERT_FILE", ""},
	{"TLS_KEY_FILE", ""},
	{"ADMIN_LISTEN", ":9090"},
	{"API_TOKEN", "none: no API"},
	{"API_TOKEN_FILE", "none: no API"},
	{"NATS_URL", "nats://127.0.0.1:4222"},
	{"NATS_CREDS", ""},
	{"NATS_NKEY", ""},
	{"NATS_CA", ""},
	{"NATS_CERT", ""},
	{"NATS_KEY", ""},
	{"SUBJECT_PREFIX", "phx"},
	{"CHANNELS_FILE", ""},
	{"CONNECT_AUTH", "authz"},
	{"AUTHZ_HEADERS", "user-agent,origin"},
	{"CHECK_ORIGIN", "same host"},
	{"TRUSTED_PROXIES", "none"},
	{"PROXY_PROTOCOL", "false"},
	{"MAX_CONNECTIONS", "what the descriptor limit allows"},
	{"MAX_FRAME_BYTES", "1 MiB"},
	{"INBOUND_BYTES_TOTAL", "256 MiB"},
	{"OUTBOUND_BYTES", "1 MiB"},
	{"MAX_CHANNELS_PER_SOCKET", "100"},
	{"SOCKET_EVENTS_PER_SECOND", "none: no limit"},
	{"SOCKET_EVENTS_BURST", "SOCKET_EVENTS_PER_SECOND"},
	{"SOCKET_JOINS_PER_SECOND", "none: no limit"},
	{"SOCKET_JOINS_BURST", "SOCKET_JOINS_PER_SECOND, and at least twice MAX_CHANNELS_PER_SOCKET"},
	{"USER_EVENTS_PER_SECOND", "none: no limit"},
	{"USER_EVENTS_BURST", "USER_EVENTS_PER_SECOND"},
	{"USER_JOINS_PER_SECOND", "none: no limit"},
	{"USER_JOINS_BURST", "USER_JOINS_PER_SECOND, and at least ten times MAX_CHANNELS_PER_SOCKET"},
	{"TRACE_SAMPLE_RATIO", "1"},
	{"IDLE_TIMEOUT", "60s"},
	{"AUTHZ_TIMEOUT", "5s"},
	{"AUTHZ_RECHECKS_PER_SECOND", "1000"},
	{"DRAIN_TIMEOUT", "30s"},
	{"READY_GRACE", "5s"},
	{"DRAIN_DELAY", "0s"},
	{"DRAIN_SPREAD", "half of DRAIN_TIMEOUT"},
	{"DRAIN_RATE", "500"},
	{"MAX_CONNECTION_AGE", "none"},
	{"SHED_TOLERANCE", "none"},
	{"GATEWAY_UPGRADES_PER_SECOND", "none"},
	{"ADDRESS_UPGRADES_PER_SECOND", "none"},
	{"ADDRESS_CONNECTIONS", "none"},
	{"GATEWAY_JOINS_PER_SECOND", "none"},
	{"ADDRESS_JOINS_PER_SECOND", "none"},
}

func TestHelp(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := runGateway(t, []string{"--help"})
	if status != 0 {
		t.Errorf("status %d", status)
	}
	// An entry begins with the name and goes on to the next name.
	entries := map[string]string{}
	name := ""
	for line := range strings.Lines(stdout + stderr) {
		if m := entryLine.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		entries[name] += line
	}
	for _, v := range variables {
		entry, ok := entries[v.name]
		if !ok {
			t.Errorf("%s is not listed", v.name)
		} else if !strings.Contains(entry, v.def) {
			t.Errorf("%s is listed without its default %q:\n%s", v.name, v.def, entry)
		}
	}
}

// entryLine is the first line of a variable's entry in the help.
var entryLine = regexp.MustCompile(`^\s*([A-Z][A-Z_]{4,})\b`)

// A value that does not parse, or a pair that contradicts, stops the program
// and names the variable on standard error; check-config says the same.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	rules := writeFile(t, "channels.yaml", everything)
	// A name=value each; several are separated by a space. The first is to be named.
	for _, settings := range []string{
		"LISTEN=nowhere", "LISTEN=127.0.0.1:99999", "ADMIN_LISTEN=:x", "SOCKET_PATH=socket",
		"API_TOKEN=short", "API_TOKEN=" + strings.Repeat("é", 16), "API_TOKEN_FILE=/nowhere/token", "API_TOKEN_FILE=" + rules,
		"API_TOKEN=" + strings.Repeat("x", 16) + " API_TOKEN_FILE=" + rules,
		"TLS_CERT_FILE=/nowhere/cert.pem TLS_KEY_FILE=/nowhere/key.pem", "TLS_KEY_FILE=" + rules, "TLS_CERT_FILE=" + rules,
		"NATS_URL=http://127.0.0.1", "NATS_CREDS=/nowhere/creds", "NATS_NKEY=/nowhere/nkey", "NATS_CA=/nowhere/ca",
		"NATS_CERT=/nowhere/c NATS_KEY=/nowhere/k", "NATS_KEY=" + rules,
		"SUBJECT_PREFIX=a..b", "SUBJECT_PREFIX=.", "SUBJECT_PREFIX=a.*", "SUBJECT_PREFIX=>", "SUBJECT_PREFIX=a.", "SUBJECT_PREFIX=" + strings.Repeat("p", 65),
		"CHANNELS_FILE=/nowhere/channels.yaml",
		"CONNECT_AUTH=maybe", "CONNECT_AUTH=Allow", "CHECK_ORIGIN=perhaps", "CHECK_ORIGIN=a.example",
		"TRUSTED_PROXIES=10.0.0.0/33", "TRUSTED_PROXIES=proxy",
		"PROXY_PROTOCOL=true", "PROXY_PROTOCOL=maybe", "PROXY_PROTOCOL=1 TRUSTED_PROXIES=10.0.0.0/8", "PROXY_PROTOCOL=TRUE TRUSTED_PROXIES=10.0.0.0/8",
		"MAX_CONNECTIONS=0", "MAX_CONNECTIONS=-1", "MAX_CONNECTIONS=many",
		"MAX_FRAME_BYTES=0", "MAX_FRAME_BYTES=-5", "MAX_FRAME_BYTES=1.5", "MAX_FRAME_BYTES=1e6", "MAX_FRAME_BYTES=1 MiB",
		"INBOUND_BYTES_TOTAL=0", "INBOUND_BYTES_TOTAL=x", "OUTBOUND_BYTES=0", "OUTBOUND_BYTES=1k",
		"MAX_CHANNELS_PER_SOCKET=0", "MAX_CHANNELS_PER_SOCKET=x",
		"SOCKET_EVENTS_PER_SECOND=-1", "SOCKET_EVENTS_PER_SECOND=fast", "SOCKET_JOINS_PER_SECOND=1e3", "USER_EVENTS_PER_SECOND=Inf", "USER_JOINS_PER_SECOND=20/s",
		"TRACE_SAMPLE_RATIO=2", "TRACE_SAMPLE_RATIO=-0.5", "TRACE_SAMPLE_RATIO=half",
		"SOCKET_EVENTS_BURST=10", "SOCKET_JOINS_PER_SECOND=0", "USER_EVENTS_BURST=0 USER_EVENTS_PER_SECOND=1", "USER_JOINS_BURST=10 USER_EVENTS_PER_SECOND=1",
		"IDLE_TIMEOUT=60", "IDLE_TIMEOUT=0s", "IDLE_TIMEOUT=-1s", "IDLE_TIMEOUT=0",
		"AUTHZ_TIMEOUT=5", "AUTHZ_TIMEOUT=0s", "DRAIN_TIMEOUT=0s", "DRAIN_TIMEOUT=soon", "READY_GRACE=0s", "READY_GRACE=5",
		"DRAIN_DELAY=-1s", "DRAIN_DELAY=5", "DRAIN_DELAY=30s", "DRAIN_SPREAD=0s", "DRAIN_SPREAD=31s", "DRAIN_RATE=0", "DRAIN_RATE=0.5",
		"GATEWAY_UPGRADES_PER_SECOND=0", "ADDRESS_UPGRADES_PER_SECOND=0.5", "ADDRESS_CONNECTIONS=-1", "GATEWAY_JOINS_PER_SECOND=many", "ADDRESS_JOINS_PER_SECOND=0",
		"MAX_CONNECTION_AGE=0s", "MAX_CONNECTION_AGE=1d", "SHED_TOLERANCE=20", "SHED_TOLERANCE=0%", "SHED_TOLERANCE=0.2", "SHED_TOLERANCE=-5%",
	} {
		// A space belongs to the value unless a name follows it.
		given := regexp.MustCompile(` ([A-Z_]+=)`).ReplaceAllString(settings, "\n$1")
		env := append([]string{"CHANNELS_FILE=" + rules, "CONNECT_AUTH=allow", "NATS_URL=nats://127.0.0.1:1",
			"LISTEN=" + freeAddress(t), "ADMIN_LISTEN=" + freeAddress(t)}, strings.Split(given, "\n")...)
		name, _, _ := strings.Cut(settings, "=")
		named := regexp.MustCompile(`\b` + name + `\b`)
		if strings.HasPrefix(settings, "TLS_") { // either of the two
			named = regexp.MustCompile(`\bTLS_(CERT|KEY)_FILE\b`)
		} else if strings.HasPrefix(settings, "NATS_CERT") || strings.HasPrefix(settings, "NATS_KEY") {
			named = regexp.MustCompile(`\bNATS_(CERT|KEY)\b`)
		}
		t.Run(settings[:min(len(settings), 60)], func(t *testing.T) {
			t.Parallel()
			status, _, stderr := runGateway(t, nil, env...)
			if status == 0 || !named.MatchString(stderr) {
				t.Errorf("start: status %d, standard error %q", status, stderr)
			}
			status, stdout, stderr := runGateway(t, []string{"check-config"}, env...)
			if status != 1 || !named.MatchString(stdout+stderr) {
				t.Errorf("check-config: status %d, %q %q, want 1", status, stdout, stderr)
			}
		})
	}
	if status, _, stderr := runGateway(t, nil, "CONNECT_AUTH=allow"); status == 0 || !strings.Contains(stderr, "CHANNELS_FILE") {
		t.Errorf("without CHANNELS_FILE: status %d, %q", status, stderr)
	}
	status, stdout, stderr := runGateway(t, []string{"check-config"}, "CHANNELS_FILE="+rules)
	if status != 0 || strings.TrimSpace(stdout+stderr) != "ok" {
		t.Errorf("check-config of a good file: status %d, %q %q, want ok", status, stdout, stderr)
	}
}
