//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

func TestReportForm(t *testing.T) {
	url, _ := startFloor(t, false)
	for _, terminal := range []bool{true, false} {
		var stdout, stderr bytes.Buffer
		args := []string{"idle", "--url", url, "--clients", "3", "--hold", "1100ms"}
		exit := run(t.Context(), args, output{stdout: &stdout, stderr: &stderr, terminal: terminal})
		text := stdout.String()
		if exit != exitOK || !strings.Contains(text, "idle: ok") || !strings.Contains(text, "errors 0") {
			t.Errorf("terminal %v: exit status %d, %q, stderr %q", terminal, exit, text, stderr.String())
		}
		if lines := strings.Count(text, "\n"); terminal != (lines > 1) {
			t.Errorf("terminal %v: %d lines", terminal, lines)
		}
		if progress := strings.Contains(text, "\r\x1b[K3 joined of 3"); progress != terminal {
			t.Errorf("terminal %v: progress %v in %q", terminal, progress, text)
		}
	}
}

func TestReadUsage(t *testing.T) {
	before := ownUsage()
	x := 1.0
	for ownUsage().cpu-before.cpu < 0.05 {
		x = math.Sqrt(x + 1)
	}
	u, err := readUsages([]int{os.Getpid()})
	if err != nil || u[0].cpu < 0.03 || u[0].rss < 1<<20 {
		t.Errorf("own process after 50 ms of work (%v): %+v, %v", x, u, err)
	}
	if _, err := readUsages([]int{os.Getpid(), math.MaxInt32}); err == nil {
		t.Error("no error for a process that does not exist")
	}
	if machineCPU() < u[0].cpu {
		t.Errorf("the machine used %v s, this process alone %v s", machineCPU(), u[0].cpu)
	}
}

func TestErrorKindsAreBounded(t *testing.T) {
	e := errorCounts{}
	for i := range 3 * maxErrorKinds {
		e.add(fmt.Sprint("kind ", i))
	}
	e.add("kind 0")
	if len(e) != maxErrorKinds+1 || e.total() != 3*maxErrorKinds+1 || e.kinds()[0] != otherErrors || e.kinds()[1] != "kind 0" {
		t.Errorf("%d kinds, %d in all, first %q", len(e), e.total(), e.kinds()[:2])
	}
}
