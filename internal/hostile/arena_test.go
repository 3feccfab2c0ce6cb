package hostile

import (
	"context"
	"fmt"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// arenaRules let every topic be joined. What an event does is in its first letter, so that each way to NATS can be taken with any name.
const arenaRules = `
channels:
  - topic: "*"
    join: allow
    events:
      - {event: "b*", do: broadcast, reply: true}
      - {event: "c*", do: cast, reply: true}
      - {event: "*", do: call, timeout: 5s}
`

// Limits of an arena.
const (
	maxFrame = 10_000
	outbound = 256 << 10
)

// arena is a gateway to be attacked, with all that its NATS server saw.
type arena struct {
	*testing.T
	cluster *clustertest.Cluster
	seen    *recorder
	metrics *sdkmetric.ManualReader
	variant int // that is at work, for messages
}

func startArena(t *testing.T, change func(*gateway.Config)) *arena {
	t.Helper()
	url := phxtest.StartNATS(t)
	a := &arena{T: t, seen: record(t, url), metrics: sdkmetric.NewManualReader()}
	a.cluster = clustertest.Start(t, clustertest.Options{NATS: []string{url}, Rules: arenaRules, Allow: true, Config: func(cfg *gateway.Config) {
		cfg.MaxFrameBytes, cfg.OutboundBytes = maxFrame, outbound
		if change != nil {
			change(cfg)
		}
	}})
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(a.metrics))
	if err := a.cluster.Gateways[0].Server.RegisterMetrics(provider.Meter("hostile")); err != nil {
		t.Fatal(err)
	}
	return a
}

// within says in messages which variant is at work.
func (a *arena) within(n int, work func()) {
	a.variant = n
	work()
}

func (a *arena) fail(format string, args ...any) {
	a.Helper()
	a.Fatalf("variant %d: %s", a.variant, fmt.Sprintf(format, args...))
}

// wantClean wants nothing to be left of all clients: no connection, and one phx.left for each phx.joined. The attackers' connections are closed by then, by
// either side, and so are the innocents'.
func (a *arena) wantClean() {
	a.Helper()
	clustertest.WaitFor(a, "every connection is gone", func() bool {
		return a.count("phxgate.connections", "") == 0 && a.count("phxgate.sockets", "") == 0 && a.count("phxgate.channels", "") == 0
	})
	clustertest.WaitFor(a, "a phx.left for each phx.joined", a.seen.balanced)
	for _, held := range []string{"phxgate.inbound.bytes", "phxgate.waiting.bytes"} {
		clustertest.WaitFor(a, held+" is 0", func() bool { return a.count(held, "") == 0 })
	}
	a.seen.check(a)
}

// count sums a metric's points: those of one cause why sockets end, or, with cause "", all.
func (a *arena) count(name, cause string) (sum int64) {
	a.Helper()
	var all metricdata.ResourceMetrics
	if err := a.metrics.Collect(context.Background(), &all); err != nil {
		a.Fatal(err)
	}
	found := false
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if metric.Name != name {
				continue
			}
			var points []metricdata.DataPoint[int64]
			switch data := metric.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, p := range points {
				if got, _ := p.Attributes.Value("cause"); cause == "" || got.AsString() == cause {
					found = true
					sum += p.Value
				}
			}
		}
	}
	if !found {
		a.Fatalf("no metric %s of cause %q", name, cause)
	}
	return sum
}

// bound is a deadline for what an idle machine does in a second.
func bound() time.Duration { return phxtest.Scaled(time.Second) }
