package presence

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/phxgate/phxgate/internal/figures"
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
	st, set := &t.stats, figures.New(m)
	set.Counter("phxgate.presence.stores", "Changes handed to the presence bucket, repetitions included").Is(st.stores.Load)
	set.Counter("phxgate.presence.retries", "Changes that were not acknowledged").Is(st.retries.Load)
	set.Counter("phxgate.presence.resets", "Times that this gateway was given up and began anew").Is(st.resets.Load)
	set.Counter("phxgate.presence.checks", "Topics compared with their owner's").Is(st.checks.Load)
	set.Counter("phxgate.presence.replaced", "Views replaced by their owner's").Is(st.replaced.Load)
	set.Counter("phxgate.presence.diffs", "Diffs from the presence service, by how they fit").
		Of("fit", "exact", st.applied.Load).Of("fit", "old", st.old.Load).Of("fit", "gap", st.gaps.Load)
	set.Counter("phxgate.presence.dropped", "Messages of presence that were dropped").Of("reason", "bad message", st.bad.Load)
	set.Gauge("phxgate.presence.entries", "Channels and keys tracked").Is(st.entries.Load)
	set.Gauge("phxgate.presence.waiting", "Entries that the bucket has yet to be told of").Is(st.dirty.Load)
	set.Gauge("phxgate.presence.under.way", "Changes that are not acknowledged yet").Is(st.underWay.Load)
	set.Gauge("phxgate.presence.views", "Topics with channels that watch").Is(st.views.Load)
	return set.Register()
}
