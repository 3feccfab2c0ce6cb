//go:build linux

package ceilings

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// row is what one limit's run found.
type row struct {
	limit                       string
	sockets                     int
	rssBefore, rssMax, rssBound int64 // bytes
	before, during              percentiles
	cpu                         time.Duration // of the gateway, during
	foreign                     float64       // share of the machine that others took, during
}

// table is all rows as text.
func (c *ceilings) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nlimit\tsockets\tRSS before\tmax\tbound\theartbeat p99 before\tduring\tbroadcast p99 before\tduring\tlost\tCPU\tothers\t\n")
	for _, r := range c.rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f s\t%.0f%%\t\n", r.limit, r.sockets, mib(r.rssBefore), mib(r.rssMax), mib(r.rssBound),
			millis(r.before.heartbeat), millis(r.during.heartbeat), millis(r.before.broadcast), millis(r.during.broadcast), r.during.lost,
			r.cpu.Seconds(), 100*r.foreign)
	}
	w.Flush()
	return b.String()
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
