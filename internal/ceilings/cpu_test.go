//go:build linux

package ceilings

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ, 100 on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// cpu is CPU time used up to a moment.
type cpu struct {
	at              time.Time
	gateway, own    time.Duration // of the gateway; of this process, which is clients and NATS server too
	machine, stolen time.Duration // of all processes; of other guests of the host
}

// cpu reads /proc (proc_pid_stat(5), proc_stat(5)).
func (g *gateway) cpu(t *testing.T) cpu {
	t.Helper()
	c := cpu{at: time.Now(), gateway: processTime(t, g.cmd.Process.Pid), own: processTime(t, os.Getpid())}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatalf("CPU time: %v", err)
	}
	var user, nice, system, idle, iowait, irq, softirq, steal time.Duration
	if _, err := fmt.Sscanf(string(stat), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		t.Fatalf("CPU time: /proc/stat: %v", err)
	}
	c.machine, c.stolen = (user+nice+system+irq+softirq)*clockTick, steal*clockTick
	return c
}

// processTime is what a process has used, user and system, all threads.
func processTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatalf("CPU time: %v", err)
	}
	// The second field is the program's name in brackets, which may hold anything; utime and stime are fields 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			t.Fatalf("CPU time of process %d: %v", pid, err)
		}
		sum += time.Duration(n) * clockTick
	}
	return sum
}

// foreign is the share of the machine that others than the gateway and this process took between two moments, 0 to 1.
func (c cpu) foreign(from cpu) float64 {
	others := (c.machine - from.machine) + (c.stolen - from.stolen) - (c.gateway - from.gateway) - (c.own - from.own)
	capacity := float64(c.at.Sub(from.at)) * float64(runtime.NumCPU())
	return min(max(float64(others)/capacity, 0), 1)
}
