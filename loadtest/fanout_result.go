//go:build linux

package main

import "fmt"

// fanoutResult is the fanout scenario's part of a result. Losses, duplicates and disorder are those of the whole run,
// warm-up included; all else is of the measured part.
type fanoutResult struct {
	Seconds             float64 `json:"seconds"`
	Published           int64   `json:"published"`
	Incomplete          int64   `json:"incomplete"` // broadcasts given up
	Deliveries          int64   `json:"deliveries"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	BytesPerSecond      float64 `json:"bytes_per_second"`
	Latency             latency `json:"latency_us"`
	Lost                int64   `json:"lost"`
	Duplicated          int64   `json:"duplicated"`
	OutOfOrder          int64   `json:"out_of_order"`
	CPUPerMillion       float64 `json:"server_cpu_s_per_million,omitempty"` // absent without --pid
}

func (r *fanoutResult) lines() []string {
	lines := []string{
		fmt.Sprintf("deliveries %d in %.2f s of %d broadcasts: %.0f/s, %.1f MB/s", r.Deliveries, r.Seconds, r.Published,
			r.DeliveriesPerSecond, r.BytesPerSecond/1e6),
		"latency " + r.Latency.String(),
		fmt.Sprintf("lost %d, duplicated %d, out of order %d, broadcasts incomplete %d", r.Lost, r.Duplicated, r.OutOfOrder, r.Incomplete),
	}
	if r.CPUPerMillion > 0 {
		lines = append(lines, fmt.Sprintf("server CPU %.3f s per million deliveries", r.CPUPerMillion))
	}
	return lines
}

// reckon adds up what the stopped loops counted, and decides whether all went well.
func (run *fanoutRun) reckon() {
	r := run.result
	r.fill(run.fleet)
	if run.shared.publisher != nil && run.shared.publisher.state == joined {
		r.Joined-- // it is no member
	}
	r.OK = !r.Interrupted && r.ErrorsTotal == 0 && r.Joined == int64(r.Clients) && r.Fanout != nil
	if r.Fanout == nil {
		return // it did not come to that
	}
	all, total := newHistogram(), r.Fanout
	for _, h := range run.loops {
		all.Merge(h.latency)
		total.Deliveries += h.measured
		total.BytesPerSecond += float64(h.bytes) / total.Seconds
		total.Duplicated += h.duplicated
		total.OutOfOrder += h.late
		total.Lost += h.lost()
	}
	total.Latency = summarize(all)
	total.Incomplete = int64(run.shared.flight.givenUp)
	total.DeliveriesPerSecond = float64(total.Deliveries) / total.Seconds
	if cpu, _ := r.serverTotals(); total.Deliveries > 0 {
		total.CPUPerMillion = cpu * 1e6 / float64(total.Deliveries)
	}
	r.OK = r.OK && total.Deliveries > 0 && total.Lost == 0 && total.Duplicated == 0 && total.OutOfOrder == 0
}

// progressLine returns the function that makes the progress line.
func (run *fanoutRun) progressLine() func(seconds float64) string {
	var last int64
	return func(seconds float64) string {
		var delivered, p99 int64
		for _, h := range run.loops {
			delivered += h.liveDelivered.Load()
			p99 = max(p99, h.liveP99.Load())
		}
		rate := float64(delivered-last) / seconds
		last = delivered
		return fmt.Sprintf("%d joined of %d, %.0f deliveries/s, p99 %s, %d errors", run.fleet.joined.Load(),
			run.config.clients, rate, showMicros(p99), run.fleet.failed.Load())
	}
}
