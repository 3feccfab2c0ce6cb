//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// fleet is all clients of a run, spread over its loops.
type fleet struct {
	config *config
	clock  clock
	loops  []*loop

	unsettled    atomic.Int64  // clients that neither joined nor failed yet
	settled      chan struct{} // closed when there are none
	joined       atomic.Int64  // that ever joined
	failed       atomic.Int64  // that ended, before or after
	stopped      atomic.Bool
	running      sync.WaitGroup
	closePollers sync.Once
	failure      chan error // whoever cannot go on says why; it holds one error, and is never closed
}

// newFleet prepares total clients and starts the loops, which connect nobody yet. Client n belongs to loop n modulo
// their number. handlerFor makes each loop's handler. An error put on failure, which must hold one, ends whatever the
// fleet waits for. The caller must stop the fleet.
func newFleet(c *config, total int, clock clock, failure chan error, handlerFor func(*loop) handler) (*fleet, error) {
	if err := raiseFileLimit(total + 64); err != nil {
		return nil, err
	}
	f := &fleet{config: c, clock: clock, settled: make(chan struct{}), failure: failure}
	f.unsettled.Store(int64(total))
	for i := range c.loops {
		l, err := f.newLoop(i, total)
		if err != nil {
			for _, l := range f.loops {
				l.poll.close()
			}
			return nil, err
		}
		f.loops = append(f.loops, l)
	}
	for _, l := range f.loops {
		l.handler = handlerFor(l)
		if whole, ok := l.handler.(interface{ wholeBytes() int }); ok { // it wants messages whole up to that
			l.keep = whole.wholeBytes()
			l.scratch = make([]byte, l.keep+scratchBytes)
		}
	}
	for _, l := range f.loops {
		f.running.Go(func() {
			if err := l.run(); err != nil {
				select {
				case f.failure <- err:
				default: // one is there already, and ends the run
				}
			}
		})
	}
	return f, nil
}

func (f *fleet) newLoop(i, total int) (*loop, error) {
	target, err := newTarget(f.config, f.config.urlOf(i), total)
	if err != nil {
		return nil, err
	}
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{
		fleet: f, target: target, clock: f.clock, poll: poll,
		scratch: make([]byte, scratchBytes), keep: keepBytes, frame: make([]byte, 0, 4096), accept: acceptKey(websocketKey),
		joins: newHistogram(), errors: errorCounts{},
	}
	l.dialer.limit = max(1, f.config.inFlight/f.config.loops)
	l.dialer.rate = f.config.rate / float64(f.config.loops)
	l.dialer.startAt.Store(never)
	for number := i; number < total; number += f.config.loops {
		l.clients = append(l.clients, client{fd: -1, number: int32(number), index: int32(len(l.clients))})
	}
	return l, nil
}

// connect starts all clients and waits until each has joined or failed.
func (f *fleet) connect(ctx context.Context) error {
	now := f.clock.now()
	for _, l := range f.loops {
		l.dialer.startAt.Store(now)
		l.poll.wakeUp()
	}
	return f.waitFor(ctx, f.settled)
}

// waitFor waits for event, the end of ctx, or a loop that failed.
func (f *fleet) waitFor(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case err := <-f.failure:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle notes that one client joined or failed to.
func (f *fleet) settle() {
	if f.unsettled.Add(-1) == 0 {
		close(f.settled)
	}
}

// stop closes all sockets and waits for the loops. Only then may what they own be looked at. Once is enough, but more
// do no harm.
func (f *fleet) stop() {
	if !f.stopped.Swap(true) {
		for _, l := range f.loops {
			l.poll.wakeUp()
		}
	}
	f.running.Wait()
	f.closePollers.Do(func() {
		for _, l := range f.loops {
			l.poll.close()
		}
	})
}

// busy is how long each loop was not waiting, in ns.
func (f *fleet) busy() []int64 {
	busy := make([]int64, len(f.loops))
	for i, l := range f.loops {
		busy[i] = l.busy.Load()
	}
	return busy
}

// joinTimes merges the loops' histograms of connect to join reply; after stop.
func (f *fleet) joinTimes() *hdrhistogram.Histogram {
	all := newHistogram()
	for _, l := range f.loops {
		all.Merge(l.joins)
	}
	return all
}

// errors merges the loops' counts; after stop.
func (f *fleet) errors() errorCounts {
	all := errorCounts{}
	for _, l := range f.loops {
		for kind, n := range l.errors {
			all.addN(kind, n)
		}
	}
	return all
}

// newHistogram holds times in µs from 1 µs to a quarter of an hour, to three digits; longer ones are not recorded.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 900e6, 3) }

// raiseFileLimit raises the soft limit of open files to the hard one, and says so if that is not enough for needed.
func raiseFileLimit(needed int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
		}
	}
	if limit.Cur < uint64(needed) {
		return usagef("%d open files are needed and the hard limit is %d: raise it (ulimit -Hn), or share the clients "+
			"among several processes", needed, limit.Cur)
	}
	return nil
}
