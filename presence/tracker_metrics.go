package presence

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// trackerStats is what a tracker counts.
type trackerStats struct {
	stores, retries, resets         atomic.Int64
	checks, replaced                atomic.Int64
	applied, old, gaps              atomic.Int64 // diffs
	bad                             atomic.Int64 // messages that make no sense
	entries, dirty, underWay, views atomic.Int64
}

func (s *trackerStats) count(t *Tracker) {
	s.entries.Store(int64(len(t.entries.all)))
	s.dirty.Store(int64(len(t.entries.dirty) + len(t.entries.retries)))
	s.underWay.Store(int64(t.entries.underWay))
	s.views.Store(int64(len(t.topics)))
}

// RegisterMetrics makes the tracker's figures visible on a meter.
func (t *Tracker) RegisterMetrics(m metric.Meter) error {
	var err error
	counter := func(name, help string) metric.Int64ObservableCounter {
		c, e := m.Int64ObservableCounter(name, metric.WithDescription(help))
		if e != nil {
			err = e
		}
		return c
	}
	gauge := func(name, help string) metric.Int64ObservableGauge {
		g, e := m.Int64ObservableGauge(name, metric.WithDescription(help))
		if e != nil {
			err = e
		}
		return g
	}
	stores := counter("phxgate.presence.stores", "Changes handed to the presence bucket, repetitions included")
	retries := counter("phxgate.presence.retries", "Changes that were not acknowledged")
	resets := counter("phxgate.presence.resets", "Times that this gateway was given up and began anew")
	checks := counter("phxgate.presence.checks", "Topics compared with their owner's")
	replaced := counter("phxgate.presence.replaced", "Views replaced by their owner's")
	diffs := counter("phxgate.presence.diffs", "Diffs from the presence service, by how they fit")
	dropped := counter("phxgate.presence.dropped", "Messages of presence that were dropped")
	entries := gauge("phxgate.presence.entries", "Channels and keys tracked")
	waiting := gauge("phxgate.presence.waiting", "Entries that the bucket has yet to be told of")
	underWay := gauge("phxgate.presence.under.way", "Changes that are not acknowledged yet")
	views := gauge("phxgate.presence.views", "Topics with channels that watch")
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := &t.stats
		fit := func(word string) metric.MeasurementOption {
			return metric.WithAttributes(attribute.String("fit", word))
		}
		o.ObserveInt64(stores, s.stores.Load())
		o.ObserveInt64(retries, s.retries.Load())
		o.ObserveInt64(resets, s.resets.Load())
		o.ObserveInt64(checks, s.checks.Load())
		o.ObserveInt64(replaced, s.replaced.Load())
		o.ObserveInt64(diffs, s.applied.Load(), fit("exact"))
		o.ObserveInt64(diffs, s.old.Load(), fit("old"))
		o.ObserveInt64(diffs, s.gaps.Load(), fit("gap"))
		o.ObserveInt64(dropped, s.bad.Load(), metric.WithAttributes(attribute.String("reason", "bad message")))
		o.ObserveInt64(entries, s.entries.Load())
		o.ObserveInt64(waiting, s.dirty.Load())
		o.ObserveInt64(underWay, s.underWay.Load())
		o.ObserveInt64(views, s.views.Load())
		return nil
	}, stores, retries, resets, checks, replaced, diffs, dropped, entries, waiting, underWay, views)
	return err
}
