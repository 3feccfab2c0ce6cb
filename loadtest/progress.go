//go:build linux

package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// output is where a run writes.
type output struct {
	stdout, stderr io.Writer
	terminal       bool // stdout is one: show progress, and the report on several lines
}

// progressEvery is how often the line changes.
const progressEvery = 500 * time.Millisecond

// progress keeps one line of a terminal up to date with what line returns, given the seconds since the last call,
// until the function it returns is called; that wipes the line. Without a terminal it does nothing.
func (o output) progress(line func(seconds float64) string) (finish func()) {
	if !o.terminal {
		return func() {}
	}
	finished := make(chan struct{}) // closed by finish
	var drawing sync.WaitGroup
	drawing.Go(func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		last := time.Now()
		for {
			select {
			case now := <-ticker.C:
				fmt.Fprintf(o.stdout, "\r\x1b[K%s", line(now.Sub(last).Seconds()))
				last = now
			case <-finished:
				fmt.Fprint(o.stdout, "\r\x1b[K")
				return
			}
		}
	})
	return func() {
		close(finished)
		drawing.Wait()
	}
}
