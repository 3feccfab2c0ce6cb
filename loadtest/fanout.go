//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"strings"
	"time"
)

const aboutFanout = `Broadcasts to --clients members of one topic, each payload numbered and timed. Keeps --window broadcasts on their way, one
being complete when every member has it, or sends --publish-rate a second. The publisher is a client of its own that
has joined the topic too and is not counted, or a backend on NATS. Reports deliveries per second, latency, what was lost,
duplicated or out of order, and the CPU of each --pid per million deliveries.`

// linger is how long the members go on listening after the last broadcast, for duplicates.
const linger = 100 * time.Millisecond

// fanoutConfig is what only the fanout scenario has.
type fanoutConfig struct {
	window           int
	publishRate      float64
	size             int
	via              string
	event            string
	natsURL, subject string
	warmup, duration time.Duration
	giveUp           time.Duration
}

func (o *fanoutConfig) register(fs *flag.FlagSet) {
	fs.IntVar(&o.window, "window", 4, "broadcasts to keep on their way")
	fs.Float64Var(&o.publishRate, "publish-rate", 0, "broadcasts per second, instead of --window")
	fs.IntVar(&o.size, "size", 128, "`bytes` of a payload")
	fs.StringVar(&o.via, "via", "client", "publisher: client or nats")
	fs.StringVar(&o.event, "event", "new_msg", "event to broadcast")
	fs.StringVar(&o.natsURL, "nats", "nats://127.0.0.1:4222", "NATS `server` for --via nats")
	fs.StringVar(&o.subject, "subject", "phx.topic.room.fanout", "`subject` of the topic for --via nats")
	fs.DurationVar(&o.warmup, "warmup", 2*time.Second, "broadcast so long before measuring; losses count all the same")
	fs.DurationVar(&o.duration, "duration", 10*time.Second, "how long to measure")
	fs.DurationVar(&o.giveUp, "give-up", 5*time.Second, "a broadcast that is not complete after this is on its way no longer")
}

func (o *fanoutConfig) validate(c *config) error {
	switch {
	case strings.Contains(c.topic, "%d"):
		return usagef("--topic %q: one topic for all members", c.topic)
	case o.window < 1 || o.window > flightRing:
		return usagef("--window %d: 1 to %d", o.window, flightRing)
	case o.publishRate < 0:
		return usagef("--publish-rate %g: not below 0", o.publishRate)
	case o.size < minPayload || o.size > 1<<20:
		return usagef("--size %d: %d to %d", o.size, minPayload, 1<<20)
	case o.via != "client" && o.via != "nats":
		return usagef("--via %q: client or nats", o.via)
	case o.warmup < 0 || o.duration <= 0 || o.giveUp <= 0:
		return usagef("--warmup, --duration, --give-up: not below 0, the last two above")
	}
	return nil
}

func runFanout(ctx context.Context, args []string, out output) (exit int, err error) {
	c, o := config{clients: 1000, topic: "room:fanout"}, fanoutConfig{}
	fs := flag.NewFlagSet("fanout", flag.ContinueOnError)
	c.register(fs)
	o.register(fs)
	if err := parseFlags(fs, args, aboutFanout, out.stdout); err != nil {
		return 0, err
	}
	if err := c.validate(); err != nil {
		return 0, err
	}
	if err := o.validate(&c); err != nil {
		return 0, err
	}
	r, err := fanout(ctx, &c, &o, out)
	if err != nil {
		return 0, err
	}
	return r.report(out, c.jsonFile)
}

// fanoutRun is one run of the scenario.
type fanoutRun struct {
	config *config
	fanout *fanoutConfig
	fleet  *fleet
	shared *broadcasting
	loops  []*fanoutLoop
	pacer  *pacer
	result *result
}

// fanout runs the scenario: connect, warm up, measure, let land, reckon up.
func fanout(ctx context.Context, c *config, o *fanoutConfig, out output) (*result, error) {
	run := &fanoutRun{config: c, fanout: o, result: &result{Scenario: "fanout", URL: c.url, Clients: c.clients}}
	ownBefore := ownUsage()
	if err := run.prepare(); err != nil {
		return nil, err
	}
	defer run.pacer.out.close()
	defer run.fleet.stop()
	defer out.progress(run.progressLine())()

	start := run.fleet.clock.now()
	err := run.fleet.connect(ctx)
	run.result.ConnectSeconds = float64(run.fleet.clock.now()-start) / 1e9
	run.result.Generator.RSSPerClientBytes = float64(ownUsage().rss-ownBefore.rss) / float64(c.clients)
	if err == nil && run.begin() {
		err = run.measure(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	run.result.Interrupted = err != nil
	run.fleet.stop()
	run.reckon()
	return run.result, nil
}

// prepare makes the fleet, its handlers, and the publisher.
func (run *fanoutRun) prepare() error {
	var id [runDigits / 2]byte
	rand.Read(id[:]) // never fails
	shared, o := &broadcasting{}, run.fanout
	shared.from.Store(never)
	shared.until.Store(never)
	run.shared = shared
	run.pacer = &pacer{clock: newClock(), flight: &shared.flight, window: o.window, rate: o.publishRate, giveUp: o.giveUp,
		payload: newPayload(id, o.size), landed: make(chan struct{})}
	failure := make(chan error, 1)
	shared.stop = func(err error) {
		select {
		case failure <- err:
		default: // the first is enough
		}
	}
	run.pacer.failed = shared.stop

	total := run.config.clients
	if o.via == "nats" {
		out, err := newNATSPublisher(o.natsURL, o.subject, o.event, shared.stop)
		if err != nil {
			return err
		}
		run.pacer.out = out
	} else {
		total++
	}
	var err error
	run.fleet, err = newFleet(run.config, total, run.pacer.clock, failure, func(l *loop) handler {
		h := newFanoutLoop(l, shared, newMarker(id))
		if len(run.loops) == 0 {
			h.pacer, shared.wakePacer = run.pacer, l.poll.wakeUp
			if o.via == "client" {
				shared.publisher = &l.clients[0]
				run.pacer.out = newClientPublisher(l, shared.publisher, run.config.topic, o.event)
			}
		}
		run.loops = append(run.loops, h)
		return h
	})
	if err != nil && run.pacer.out != nil {
		run.pacer.out.close()
	}
	return err
}

// begin starts the broadcasts, if there is someone to send and someone to receive.
func (run *fanoutRun) begin() bool {
	members := run.fleet.joined.Load()
	if run.shared.publisher != nil {
		members--
	}
	if members < 1 {
		return false
	}
	run.shared.flight.setMembers(int32(members))
	run.pacer.phase.Store(pacerPublishing)
	run.shared.wakePacer()
	return true
}

// measure warms up, measures, and waits until nothing is on its way.
func (run *fanoutRun) measure(ctx context.Context) error {
	f, flight, pids := run.fleet, &run.shared.flight, run.config.pids
	err := f.waitFor(ctx, afterDuration(run.fanout.warmup))
	if err != nil {
		return err
	}
	before, err := readUsages(pids)
	if err != nil {
		return err
	}
	own, machine, busy, sent, from := ownUsage(), machineCPU(), f.busy(), flight.sent.Load(), f.clock.now()
	run.shared.from.Store(from)

	// An interrupt ends the measured part early; what there is so far is reported.
	interrupted := f.waitFor(ctx, afterDuration(run.fanout.duration))

	until := f.clock.now()
	run.shared.until.Store(until)
	after, err := readUsages(pids)
	if err != nil {
		return err
	}
	seconds := float64(until-from) / 1e9
	r := run.result
	r.Servers = costs(pids, before, after)
	r.Generator.CPUSeconds, r.MachineCPUSeconds = ownUsage().cpu-own.cpu, machineCPU()-machine
	r.Generator.setBusy(busy, f.busy(), seconds)
	r.Fanout = &fanoutResult{Seconds: seconds, Published: int64(flight.sent.Load() - sent)}
	if interrupted != nil && !errors.Is(interrupted, context.Canceled) {
		return interrupted
	}

	run.pacer.phase.Store(pacerLanding)
	run.shared.wakePacer()
	// Giving up bounds the landing, so it need not be interrupted.
	landing := context.WithoutCancel(ctx)
	if err := f.waitFor(landing, run.pacer.landed); err != nil {
		return err
	}
	if err := f.waitFor(landing, afterDuration(linger)); err != nil {
		return err
	}
	return interrupted
}
