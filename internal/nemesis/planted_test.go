package nemesis

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestPlanted builds the programs with one bug after the other planted (internal/planted) and wants the nemesis to find each.
func TestPlanted(t *testing.T) {
	if os.Getenv("CI") == "" && os.Getenv("PLANTED") == "" {
		t.Skip("takes some minutes: set PLANTED=1")
	}
	for _, bug := range []struct {
		tag, test, faults, finding string
	}{
		{"subscribe_after_reply", "TestNemesis", "cut link", "misses"},
		{"no_probe", "TestNemesis", "cut link", "misses"},
		{"no_gap", "TestNemesis", "cut gateway", "misses"},
		{"ignore_overflow", "TestNemesis", "flood", "misses"},
		{"tombstone", "TestPresenceNemesis", "kill gateway", "with a ghost"},
		{"boundary", "TestPresenceNemesis", "kill service", "with a ghost"},
		{"stale", "TestPresenceNemesis", "stop gateway,cut gateway", "with a ghost"},
	} {
		t.Run(bug.tag, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^"+bug.test+"$", "-test.v")
			cmd.Env = append(os.Environ(), "NEMESIS_PLANTED=planted_"+bug.tag, "NEMESIS_FAULTS="+bug.faults, "NEMESIS_SECONDS=60", "NEMESIS_SEED=3")
			out, err := cmd.CombinedOutput()
			text := string(out)
			if err == nil || !strings.Contains(text, bug.finding) {
				t.Errorf("the bug was not found (%v):\n%s", err, text[max(0, len(text)-4000):])
			}
		})
	}
}
