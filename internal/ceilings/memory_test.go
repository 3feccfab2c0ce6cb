//go:build linux

package ceilings

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

var statusField = regexp.MustCompile(`(?m)^(VmRSS|VmHWM):\s+(\d+) kB$`)

// memory reads a process's resident set from /proc/<pid>/status (proc_pid_status(5)): now, and the most since it started, in bytes.
func (g *gateway) memory(t *testing.T) (now, most int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("memory of the gateway: %v", err)
	}
	found := map[string]int64{}
	for _, m := range statusField.FindAllSubmatch(text, -1) {
		kb, err := strconv.ParseInt(string(m[2]), 10, 64)
		if err != nil {
			t.Fatalf("memory of the gateway: %s: %v", m[0], err)
		}
		found[string(m[1])] = kb << 10
	}
	if len(found) != 2 {
		t.Fatalf("memory of the gateway: no VmRSS and VmHWM in\n%s", text)
	}
	return found["VmRSS"], found["VmHWM"]
}
