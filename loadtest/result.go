//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what a run found; the JSON file holds it as it is. Fields that a scenario does not measure are absent.
type result struct {
	Scenario    string      `json:"scenario"`
	URL         string      `json:"url"`
	OK          bool        `json:"ok"`
	Interrupted bool        `json:"interrupted,omitempty"`
	Clients     int         `json:"clients"`
	Joined      int64       `json:"joined"`
	ErrorsTotal int         `json:"errors_total"`
	Errors      errorCounts `json:"errors"`

	ConnectSeconds    float64 `json:"connect_seconds"`
	ConnectsPerSecond float64 `json:"connects_per_second"`
	ConnectJoin       latency `json:"connect_join_us"`

	Idle      *idleResult     `json:"idle,omitempty"`
	Fanout    *fanoutResult   `json:"fanout,omitempty"`
	Presence  *presenceResult `json:"presence,omitempty"`
	Servers   []processCost   `json:"servers"`
	Generator generatorCost   `json:"generator"`
	// MachineCPUSeconds is what the whole machine used meanwhile: beyond servers and generator it is noise.
	MachineCPUSeconds float64 `json:"machine_cpu_seconds"`
}

// latency is a histogram's summary, in µs.
type latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p999"`
	Max   int64   `json:"max"`
}

// processCost is what one server process used during the measured part, and its memory at both ends.
type processCost struct {
	PID        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBefore  int64   `json:"rss_before_bytes"`
	RSSAfter   int64   `json:"rss_after_bytes"`
}

// generatorCost is the same for this process, with the share of time that each loop was busy.
type generatorCost struct {
	CPUSeconds        float64   `json:"cpu_seconds"`
	RSSPerClientBytes float64   `json:"rss_per_client_bytes"`
	LoopsBusy         []float64 `json:"loops_busy"`
	// WasLimit: a loop was busy for more than busyLimit of the time, so the server could perhaps have done more.
	WasLimit bool `json:"was_limit"`
}

const busyLimit = 0.9

func summarize(h *hdrhistogram.Histogram) latency {
	return latency{Count: h.TotalCount(), Mean: h.Mean(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max()}
}

func (l latency) String() string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", showMicros(l.P50), showMicros(l.P90), showMicros(l.P99),
		showMicros(l.P999), showMicros(l.Max))
}

func showMicros(us int64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%d µs", us)
	case us < 1_000_000:
		return fmt.Sprintf("%.2f ms", float64(us)/1e3)
	}
	return fmt.Sprintf("%.2f s", float64(us)/1e6)
}

// costs compares each process before and after.
func costs(pids []int, before, after []usage) []processCost {
	all := make([]processCost, len(pids))
	for i, pid := range pids {
		all[i] = processCost{PID: pid, CPUSeconds: after[i].cpu - before[i].cpu, RSSBefore: before[i].rss, RSSAfter: after[i].rss}
	}
	return all
}

// serverTotals sums over the server processes.
func (r *result) serverTotals() (cpuSeconds float64, rssGrowth int64) {
	for _, s := range r.Servers {
		cpuSeconds += s.CPUSeconds
		rssGrowth += s.RSSAfter - s.RSSBefore
	}
	return cpuSeconds, rssGrowth
}

// fill takes over what the stopped fleet knows.
func (r *result) fill(f *fleet) {
	r.Joined, r.Errors = f.joined.Load(), f.errors()
	r.ErrorsTotal = r.Errors.total()
	r.ConnectJoin = summarize(f.joinTimes())
	if r.ConnectSeconds > 0 {
		r.ConnectsPerSecond = float64(r.Joined) / r.ConnectSeconds
	}
}

// setBusy computes each loop's share of seconds.
func (g *generatorCost) setBusy(before, after []int64, seconds float64) {
	g.LoopsBusy = make([]float64, len(before))
	for i := range before {
		if seconds > 0 {
			g.LoopsBusy[i] = float64(after[i]-before[i]) / 1e9 / seconds
		}
		g.WasLimit = g.WasLimit || g.LoopsBusy[i] > busyLimit
	}
}

// lines is the report as text, one line a subject, the verdict first.
func (r *result) lines() []string {
	verdict := "ok"
	if !r.OK {
		verdict = "FAILED"
	}
	if r.Interrupted {
		verdict += ", interrupted"
	}
	lines := []string{
		fmt.Sprintf("%s: %s", r.Scenario, verdict),
		fmt.Sprintf("clients %d joined of %d in %.2f s, %.0f/s", r.Joined, r.Clients, r.ConnectSeconds, r.ConnectsPerSecond),
		"connect+join " + r.ConnectJoin.String(),
	}
	if r.Idle != nil {
		lines = append(lines, r.Idle.lines()...)
	}
	if r.Fanout != nil {
		lines = append(lines, r.Fanout.lines()...)
	}
	if r.Presence != nil {
		lines = append(lines, r.Presence.lines()...)
	}
	if len(r.Servers) > 1 {
		for _, s := range r.Servers {
			lines = append(lines, fmt.Sprintf("  process %d: %.2f CPU-s, RSS %s to %s", s.PID, s.CPUSeconds,
				showBytes(s.RSSBefore), showBytes(s.RSSAfter)))
		}
	}
	generator := fmt.Sprintf("generator %.2f CPU-s, loops busy", r.Generator.CPUSeconds)
	for _, busy := range r.Generator.LoopsBusy {
		generator += fmt.Sprintf(" %.0f%%", busy*100)
	}
	if r.Generator.WasLimit {
		generator += ": IT WAS THE LIMIT (try --loops)"
	}
	lines = append(lines, generator+fmt.Sprintf(", %.0f B per client", r.Generator.RSSPerClientBytes),
		fmt.Sprintf("whole machine %.2f CPU-s", r.MachineCPUSeconds),
		fmt.Sprintf("errors %d", r.ErrorsTotal))
	for _, kind := range r.Errors.kinds() {
		lines = append(lines, fmt.Sprintf("  %d × %s", r.Errors[kind], kind))
	}
	return lines
}

func showBytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// report prints r, writes the JSON file where one is asked for, and returns the exit status.
func (r *result) report(out output, jsonFile string) (exit int, err error) {
	if out.terminal {
		fmt.Fprintln(out.stdout, strings.Join(r.lines(), "\n"))
	} else {
		fmt.Fprintln(out.stdout, strings.Join(r.lines(), "; "))
	}
	if jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return exitFailed, fmt.Errorf("encode the result: %w", err)
		}
		if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil {
			return exitFailed, err
		}
	}
	if !r.OK {
		return exitFailed, nil
	}
	return exitOK, nil
}
