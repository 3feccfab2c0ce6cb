//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// usage is what one process has used up to now.
type usage struct {
	cpu float64 // seconds, user and system, all threads
	rss int64   // bytes
}

// ticksPerSecond is the unit of CPU times in /proc: USER_HZ, 100 on every architecture that Go runs on.
const ticksPerSecond = 100

// readUsage reads /proc/<pid>. CPU comes in steps of 10 ms.
func readUsage(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("measure process %d: %w", pid, err)
	}
	// The second field is the program's name in brackets, which may hold anything. utime and stime are fields 14 and
	// 15, rss in pages is 24 (proc_pid_stat(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return u, fmt.Errorf("measure process %d: stat has %d fields", pid, len(fields))
	}
	var ticks, pages int64
	for _, f := range []struct {
		into *int64
		at   int
	}{{&ticks, 11}, {&ticks, 12}, {&pages, 21}} {
		n, err := strconv.ParseInt(string(fields[f.at]), 10, 64)
		if err != nil {
			return u, fmt.Errorf("measure process %d: %w", pid, err)
		}
		*f.into += n
	}
	return usage{cpu: float64(ticks) / ticksPerSecond, rss: pages * int64(os.Getpagesize())}, nil
}

// readUsages reads each process.
func readUsages(pids []int) ([]usage, error) {
	all := make([]usage, len(pids))
	for i, pid := range pids {
		u, err := readUsage(pid)
		if err != nil {
			return nil, err
		}
		all[i] = u
	}
	return all, nil
}

// ownUsage is this process's, its CPU to the microsecond.
func ownUsage() usage {
	u, _ := readUsage(os.Getpid()) // one's own /proc entry can be read
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) == nil {
		u.cpu = float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	return u
}

// machineCPU is the CPU seconds that all processes together have used, and those that the hypervisor kept to itself;
// 0 if it cannot be read.
func machineCPU() float64 {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	var user, nice, system, idle, iowait, irq, softirq, steal int64
	if _, err := fmt.Sscanf(string(line), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq,
		&steal); err != nil {
		return 0
	}
	return float64(user+nice+system+irq+softirq+steal) / ticksPerSecond
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
