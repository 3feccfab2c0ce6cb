package presence

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/phxgate/phxgate/internal/figures"
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
	st, set := &s.stats, figures.New(m)
	set.Counter("phxgate.presence.changes", "Changes of topics that the log brought").Is(st.changes.Load)
	set.Counter("phxgate.presence.changes.merged", "Changes that went out in the diff of an earlier one").Is(st.merged.Load)
	set.Counter("phxgate.presence.diffs", "Diffs emitted").Is(st.diffs.Load)
	set.Counter("phxgate.presence.checks", "Topics that gateways compared, by what they were told").
		Of("answer", "same", st.checksSame.Load).Of("answer", "state", st.checksFull.Load)
	set.Counter("phxgate.presence.dropped", "What was left out").Of("reason", "bad record", st.dropped.Load)
	given := set.Counter("phxgate.presence.gateways.given.up", "Gateways given up, by cause")
	for i, c := range causes {
		given.Of("cause", string(c), st.given[i].Load)
	}
	set.Gauge("phxgate.presence.partitions", "Partitions that this replica owns").Is(st.partitions.Load)
	set.Gauge("phxgate.presence.gateways", "Gateways that are registered").Is(st.gateways.Load)
	set.Gauge("phxgate.presence.topics", "Topics with somebody there, or lately").Is(st.topics.Load)
	set.Gauge("phxgate.presence.entries", "Channels and keys that registered gateways track").Is(st.entries.Load)
	return set.Register()
}
