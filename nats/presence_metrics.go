package nats

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// presenceStats is what a presence service's bus counts.
type presenceStats struct {
	reconnects atomic.Int64
	overflows  atomic.Int64 // times a Go chan was full
}

// RegisterMetrics makes the bus's numbers readable through a meter.
func (b *PresenceBus) RegisterMetrics(m metric.Meter) error {
	var err error
	counter := func(name, help string) metric.Int64ObservableCounter {
		c, e := m.Int64ObservableCounter(name, metric.WithDescription(help))
		if e != nil {
			err = e
		}
		return c
	}
	reconnects := counter("phxgate.nats.reconnects", "Times the connection to NATS came back.")
	dropped := counter("phxgate.nats.dropped", "Messages from or to NATS that were dropped, by reason.")
	filled := counter("phxgate.presence.log.gaps", "Holes in the bucket's log that were filled from its stream.")
	connected, e := m.Int64ObservableGauge("phxgate.nats.connected", metric.WithDescription("1 while there is a connection to NATS."))
	if err != nil || e != nil {
		return errors.Join(err, e)
	}
	full := metric.WithAttributes(attribute.String("reason", dropInboxFull.String()))
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		up := int64(0)
		if b.Available() {
			up = 1
		}
		o.ObserveInt64(connected, up)
		o.ObserveInt64(reconnects, b.stats.reconnects.Load())
		o.ObserveInt64(dropped, b.stats.overflows.Load(), full)
		o.ObserveInt64(filled, b.bucket.filled.Load())
		return nil
	}, connected, reconnects, dropped, filled)
	return err
}
