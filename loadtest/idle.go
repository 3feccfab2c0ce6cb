//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"time"
)

const aboutIdle = `Opens --clients sockets, joins a topic on each, and holds them for --hold with nothing but heartbeats. Reports connects
per second, the time from connect to join reply, and for each --pid the CPU per connect and join, and the RSS per socket
at the end of the hold.`

// idleLoop is the handler of a loop whose clients only wait.
type idleLoop struct {
	loop    *loop
	lookAt  int64        // when the live figure is due
	liveP99 atomic.Int64 // of connect to join reply, µs; for the progress line
}

var _ handler = (*idleLoop)(nil)

func (h *idleLoop) message(c *client, text []byte) { h.loop.control(c, text) }

func (h *idleLoop) cutOff(*client, string) {}

func (h *idleLoop) turn(now int64) (next int64) {
	if now >= h.lookAt {
		h.liveP99.Store(h.loop.joins.ValueAtQuantile(99))
		h.lookAt = now + int64(progressEvery)/2
	}
	return never
}

// idleProgress returns the function that makes the progress line.
func idleProgress(f *fleet, loops []*idleLoop) func(seconds float64) string {
	var last int64
	return func(seconds float64) string {
		var p99 int64
		for _, h := range loops {
			p99 = max(p99, h.liveP99.Load())
		}
		joined := f.joined.Load()
		rate := float64(joined-last) / seconds
		last = joined
		return fmt.Sprintf("%d joined of %d, %.0f/s, p99 %s, %d errors", joined, f.config.clients, rate, showMicros(p99), f.failed.Load())
	}
}

// idleResult is the idle scenario's part of a result. The figures of servers are absent without --pid.
type idleResult struct {
	HoldSeconds     float64 `json:"hold_seconds"`
	CPUPerConnectUS float64 `json:"server_cpu_us_per_connect_join,omitempty"`
	RSSPerSocket    float64 `json:"server_rss_bytes_per_socket,omitempty"`
	RSSBefore       int64   `json:"server_rss_before_bytes,omitempty"`
	RSSAfter        int64   `json:"server_rss_after_bytes,omitempty"`
}

func (r *idleResult) lines() []string {
	if r.RSSAfter == 0 {
		return nil
	}
	return []string{
		fmt.Sprintf("server CPU %.1f µs per connect+join", r.CPUPerConnectUS),
		fmt.Sprintf("server RSS %s to %s, %.0f B per socket", showBytes(r.RSSBefore), showBytes(r.RSSAfter), r.RSSPerSocket),
	}
}

func runIdle(ctx context.Context, args []string, out output) (exit int, err error) {
	c := config{clients: 1000, topic: "room:%d"}
	fs := flag.NewFlagSet("idle", flag.ContinueOnError)
	c.register(fs)
	hold := fs.Duration("hold", 10*time.Second, "how long to hold the sockets once all are there")
	if err := parseFlags(fs, args, aboutIdle, out.stdout); err != nil {
		return 0, err
	}
	if err := c.validate(); err != nil {
		return 0, err
	}
	if *hold < 0 {
		return 0, usagef("--hold %v: not below 0", *hold)
	}
	r, err := idle(ctx, &c, *hold, out)
	if err != nil {
		return 0, err
	}
	return r.report(out, c.jsonFile)
}

// idle runs the scenario.
func idle(ctx context.Context, c *config, hold time.Duration, out output) (*result, error) {
	before, err := readUsages(c.pids)
	if err != nil {
		return nil, err
	}
	ownBefore, machineBefore := ownUsage(), machineCPU()
	var loops []*idleLoop
	f, err := newFleet(c, c.clients, newClock(), make(chan error, 1), func(l *loop) handler {
		loops = append(loops, &idleLoop{loop: l})
		return loops[len(loops)-1]
	})
	if err != nil {
		return nil, err
	}
	defer f.stop()
	defer out.progress(idleProgress(f, loops))()

	r := &result{Scenario: "idle", URL: c.url, Clients: c.clients, Idle: &idleResult{}}
	start, busyBefore := f.clock.now(), f.busy()
	err = f.connect(ctx)
	r.ConnectSeconds = float64(f.clock.now()-start) / 1e9
	r.Generator.setBusy(busyBefore, f.busy(), r.ConnectSeconds)
	r.Generator.CPUSeconds, r.MachineCPUSeconds = ownUsage().cpu-ownBefore.cpu, machineCPU()-machineBefore
	connected, usageErr := readUsages(c.pids)
	if usageErr != nil {
		return nil, usageErr
	}
	holdFrom := f.clock.now()
	if err == nil && f.joined.Load() > 0 {
		err = f.waitFor(ctx, afterDuration(hold))
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	r.Interrupted = err != nil
	r.Idle.HoldSeconds = float64(f.clock.now()-holdFrom) / 1e9
	after, err := readUsages(c.pids)
	if err != nil {
		return nil, err
	}
	ownAfter := ownUsage()
	f.stop()

	r.fill(f)
	r.Generator.RSSPerClientBytes = float64(ownAfter.rss-ownBefore.rss) / float64(c.clients)
	r.setIdleCosts(c.pids, before, connected, after)
	r.OK = !r.Interrupted && r.ErrorsTotal == 0 && r.Joined == int64(c.clients)
	return r, nil
}

// setIdleCosts fills in what the servers used: CPU until the last join, RSS until the end of the hold.
func (r *result) setIdleCosts(pids []int, before, connected, after []usage) {
	r.Servers = costs(pids, before, after)
	for i := range r.Servers {
		r.Servers[i].CPUSeconds = connected[i].cpu - before[i].cpu
		r.Idle.RSSBefore += before[i].rss
		r.Idle.RSSAfter += after[i].rss
	}
	if r.Joined > 0 {
		cpu, growth := r.serverTotals()
		r.Idle.CPUPerConnectUS = cpu * 1e6 / float64(r.Joined)
		r.Idle.RSSPerSocket = float64(growth) / float64(r.Joined)
	}
}

// afterDuration returns a channel that is closed after d.
func afterDuration(d time.Duration) <-chan struct{} {
	over := make(chan struct{})
	time.AfterFunc(d, func() { close(over) })
	return over
}
