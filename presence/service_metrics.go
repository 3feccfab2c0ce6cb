package presence

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// serviceStats is what a replica counts.
type serviceStats struct {
	changes, merged, diffs atomic.Int64
	checksSame, checksFull atomic.Int64
	dropped                atomic.Int64 // records that make no sense
	partitions             atomic.Int64
	gateways               atomic.Int64
	topics, entries        atomic.Int64
	given                  [4]atomic.Int64 // gateways given up, as in causes
}

var causes = [4]cause{causeRestarted, causeSilent, causeHung, causeDrained}

func (s *serviceStats) lost(why cause) {
	for i, c := range causes {
		if c == why {
			s.given[i].Add(1)
		}
	}
}

// count notes how much the state holds.
func (s *Service) count() {
	gateways, entries := 0, 0
	for _, in := range s.state.incarnations {
		if in.registered {
			gateways++
			entries += len(in.entries)
		}
	}
	s.stats.gateways.Store(int64(gateways))
	s.stats.entries.Store(int64(entries))
	s.stats.topics.Store(int64(len(s.state.topics)))
}

// RegisterMetrics makes the replica's figures visible on a meter.
func (s *Service) RegisterMetrics(m metric.Meter) error {
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
	changes := counter("phxgate.presence.changes", "Changes of topics that the log brought")
	merged := counter("phxgate.presence.changes.merged", "Changes that went out in the diff of an earlier one")
	diffs := counter("phxgate.presence.diffs", "Diffs emitted")
	checks := counter("phxgate.presence.checks", "Topics that gateways compared, by what they were told")
	dropped := counter("phxgate.presence.dropped", "What was left out")
	given := counter("phxgate.presence.gateways.given.up", "Gateways given up, by cause")
	partitions := gauge("phxgate.presence.partitions", "Partitions that this replica owns")
	gateways := gauge("phxgate.presence.gateways", "Gateways that are registered")
	topics := gauge("phxgate.presence.topics", "Topics with somebody there, or lately")
	entries := gauge("phxgate.presence.entries", "Channels and keys that registered gateways track")
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		st := &s.stats
		o.ObserveInt64(changes, st.changes.Load())
		o.ObserveInt64(merged, st.merged.Load())
		o.ObserveInt64(diffs, st.diffs.Load())
		o.ObserveInt64(checks, st.checksSame.Load(), metric.WithAttributes(attribute.String("answer", "same")))
		o.ObserveInt64(checks, st.checksFull.Load(), metric.WithAttributes(attribute.String("answer", "state")))
		o.ObserveInt64(dropped, st.dropped.Load(), metric.WithAttributes(attribute.String("reason", "bad record")))
		for i, c := range causes {
			o.ObserveInt64(given, st.given[i].Load(), metric.WithAttributes(attribute.String("cause", string(c))))
		}
		o.ObserveInt64(partitions, st.partitions.Load())
		o.ObserveInt64(gateways, st.gateways.Load())
		o.ObserveInt64(topics, st.topics.Load())
		o.ObserveInt64(entries, st.entries.Load())
		return nil
	}, changes, merged, diffs, checks, dropped, given, partitions, gateways, topics, entries)
	return err
}
