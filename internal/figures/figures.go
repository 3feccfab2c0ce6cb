// Package figures makes a program's numbers readable through an OpenTelemetry meter: each under its name, read when somebody asks.
package figures

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Set collects the figures of one part of a program; Register it when all are named.
type Set struct {
	meter       metric.Meter
	instruments []metric.Observable
	reads       []func(metric.Observer)
	errs        []error
}

// New begins a set on a meter.
func New(m metric.Meter) *Set { return &Set{meter: m} }

// Counter names a number that only grows. Each part of it is added with Of; a counter without labels has one.
func (s *Set) Counter(name, help string) Figure {
	c, err := s.meter.Int64ObservableCounter(name, metric.WithDescription(help))
	return s.add(name, c, err)
}

// Gauge names a number that goes up and down.
func (s *Set) Gauge(name, help string) Figure {
	g, err := s.meter.Int64ObservableGauge(name, metric.WithDescription(help))
	return s.add(name, g, err)
}

func (s *Set) add(name string, o metric.Int64Observable, err error) Figure {
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("metric %s: %w", name, err))
	}
	s.instruments = append(s.instruments, o)
	return Figure{s, o}
}

// Figure is one name.
type Figure struct {
	set        *Set
	instrument metric.Int64Observable
}

// Is says how the number is read.
func (f Figure) Is(read func() int64) { f.Of("", "", read) }

// Of says how the number is read where a label has that value.
func (f Figure) Of(label, value string, read func() int64) Figure {
	var opts []metric.ObserveOption
	if label != "" {
		opts = append(opts, metric.WithAttributeSet(attribute.NewSet(attribute.String(label, value))))
	}
	f.set.reads = append(f.set.reads, func(o metric.Observer) { o.ObserveInt64(f.instrument, read(), opts...) })
	return f
}

// Register makes the figures readable; the error names those that could not be made.
func (s *Set) Register() error {
	if err := errors.Join(s.errs...); err != nil {
		return err
	}
	_, err := s.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, read := range s.reads {
			read(o)
		}
		return nil
	}, s.instruments...)
	return err
}
