package nats

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// RegisterMetrics makes the bus's numbers readable through a meter.
func (b *Bus) RegisterMetrics(m metric.Meter) error {
	counters := []struct {
		name, help string
		value      func() int64
	}{
		{"phxgate.nats.messages.received", "Messages from NATS.", b.stats.In.Load},
		{"phxgate.nats.messages.sent", "Messages published to NATS.", b.stats.Out.Load},
		{"phxgate.nats.reconnects", "Times the connection to NATS came back.", b.stats.Reconnects.Load},
		{"phxgate.nats.gaps", "Times messages from NATS may have been missed.", b.stats.Gaps.Load},
	}
	for _, c := range counters {
		value := c.value
		if _, err := m.Int64ObservableCounter(c.name, metric.WithDescription(c.help), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value())
			return nil
		})); err != nil {
			return fmt.Errorf("metric %s: %w", c.name, err)
		}
	}
	sets := make([]metric.MeasurementOption, numDropReasons)
	for r := range numDropReasons {
		sets[r] = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", r.String())))
	}
	_, err := m.Int64ObservableCounter("phxgate.nats.dropped", metric.WithDescription("Messages from or to NATS that were dropped, by reason."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for r := dropNone + 1; r < numDropReasons; r++ {
				o.Observe(b.stats.Dropped[r].Load(), sets[r])
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("metric phxgate.nats.dropped: %w", err)
	}
	if _, err := m.Int64ObservableGauge("phxgate.nats.connected", metric.WithDescription("1 while there is a connection to NATS."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			up := int64(0)
			if b.up.Load() {
				up = 1
			}
			o.Observe(up)
			return nil
		})); err != nil {
		return fmt.Errorf("metric phxgate.nats.connected: %w", err)
	}
	return nil
}
