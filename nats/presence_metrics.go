package nats

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/phxgate/phxgate/internal/figures"
)

// presenceStats is what a presence service's bus counts.
type presenceStats struct {
	reconnects atomic.Int64
	overflows  atomic.Int64 // times a Go chan was full
}

// RegisterMetrics makes the bus's numbers readable through a meter.
func (b *PresenceBus) RegisterMetrics(m metric.Meter) error {
	set := figures.New(m)
	set.Counter("phxgate.nats.reconnects", "Times the connection to NATS came back.").Is(b.stats.reconnects.Load)
	set.Counter("phxgate.nats.dropped", "Messages from or to NATS that were dropped, by reason.").Of("reason", dropInboxFull.String(), b.stats.overflows.Load)
	set.Counter("phxgate.presence.log.gaps", "Holes in the bucket's log that were filled from its stream.").Is(b.bucket.filled.Load)
	set.Gauge("phxgate.nats.connected", "1 while there is a connection to NATS.").Is(func() int64 {
		if b.Available() {
			return 1
		}
		return 0
	})
	return set.Register()
}
