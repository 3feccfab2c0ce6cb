package contracttest

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestPresenceService: the service builds, lists its settings, refuses bad ones, is ready with NATS alone, and ends on SIGTERM.
func TestPresenceService(t *testing.T) {
	t.Parallel()
	binary := presenceBinary
	help, err := exec.Command(binary, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, def := range map[string]string{
		"NATS_URL": "nats://127.0.0.1:4222", "SUBJECT_PREFIX": "phx", "ADMIN_LISTEN": ":9091", "DRAIN_TIMEOUT": "30s", "READY_GRACE": "5s",
		"PRESENCE_MERGE": "50ms", "PRESENCE_REPLICAS": "1", "PRESENCE_STORAGE": "file",
	} {
		_, entry, ok := strings.Cut(string(help), "  "+name+" ")
		if !ok || !strings.Contains(strings.Join(strings.SplitN(entry, "\n", 3)[:2], "\n"), "default: "+def) {
			t.Errorf("--help does not list %s with default %s", name, def)
		}
	}
	for _, bad := range []string{"PRESENCE_REPLICAS=6", "PRESENCE_STORAGE=disk", "PRESENCE_MERGE=-1s", "ADMIN_LISTEN=nowhere", "NATS_URL=http://x", "SUBJECT_PREFIX=a..b"} {
		cmd := exec.Command(binary)
		cmd.Env = append(baseEnv(), bad)
		out, err := cmd.CombinedOutput()
		if name, _, _ := strings.Cut(bad, "="); err == nil || !strings.Contains(string(out), name) {
			t.Errorf("%s: %v, %q", bad, err, out)
		}
	}
	admin := freeAddress(t)
	cmd := exec.Command(binary)
	cmd.Env = append(baseEnv(), "NATS_URL="+phxtest.StartNATS(t), "ADMIN_LISTEN="+admin, "PRESENCE_MERGE=0s")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	waitFor(t, "ready", func() bool { status, _ := get("http://" + admin + "/readyz"); return status == 200 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, log.String())
	}
}

// TestPresenceServiceWithoutJetStream: what stands in the way of the bucket is on /readyz, and the process waits.
func TestPresenceServiceWithoutJetStream(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ config, setting, reason string }{
		{"", "PRESENCE_REPLICAS=1", "jetstream not enabled"},
		{"jetstream { store_dir: '" + t.TempDir() + "' }", "PRESENCE_REPLICAS=3", "PRESENCE_REPLICAS=3"},
	} {
		server := startConfigured(t, c.config)
		svc := &gateway{t: t, binary: presenceBinary, admin: freeAddress(t)}
		svc.start([]string{"NATS_URL=" + server.url(""), c.setting})
		waitFor(t, c.reason, func() bool {
			status, body := svc.readyz()
			return status == 503 && strings.Contains(body, c.reason)
		})
		svc.mustLive(t)
	}
}

// TestPresenceServiceMetrics: what an operator watches is on /metrics.
func TestPresenceServiceMetrics(t *testing.T) {
	t.Parallel()
	gs, _, svc := presenceSetup(t, 1)
	c := gs[0].dial(t)
	var r phxtest.Roster
	c.Join("lobby:1", map[string]any{"user": "ann"})
	c.WantRoster(&r, "lobby:1", "ann", 0)
	waitFor(t, "the figures of one gateway and one entry", func() bool {
		_, body := get("http://" + svc.admin + "/metrics")
		for _, line := range []string{
			"phxgate_presence_entries 1", "phxgate_presence_gateways 1", "phxgate_presence_topics 1", "phxgate_presence_partitions 64", "phxgate_presence_diffs_total ",
			"phxgate_presence_changes_total 1", "phxgate_presence_changes_merged_total 0", "phxgate_presence_log_gaps_total 0", "phxgate_nats_connected 1",
			`phxgate_presence_checks_total{answer="same"}`, `phxgate_presence_checks_total{answer="state"}`,
			`phxgate_presence_dropped_total{reason="bad record"} 0`, `phxgate_nats_dropped_total{reason="inbox full"} 0`,
			`phxgate_presence_gateways_given_up_total{cause="silent"} 0`, `phxgate_presence_gateways_given_up_total{cause="hung"} 0`,
		} {
			if !strings.Contains(body, "\n"+line) {
				return false
			}
		}
		return true
	})
}
