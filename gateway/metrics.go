package gateway

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// RegisterMetrics makes the gateway's numbers readable through a meter. Loops only count; the meter reads when somebody asks. No topic, user or
// id is ever a label.
func (srv *Server) RegisterMetrics(m metric.Meter) error {
	s := srv.stats
	type single struct {
		name, help string
		value      func() int64
	}
	type byLabel struct {
		name, help, label string // label may be several names, and those of values as many values, with commas
		values            *labelled
	}
	gauges := []single{
		{"phxgate.sockets", "Sockets that are open.", s.sockets.load},
		{"phxgate.connections", "TCP connections that are held, upgraded or not.", srv.open.Load},
		{"phxgate.channels", "Channels that are joined.", s.channels.load},
		{"phxgate.inbound.bytes", "Bytes of messages from clients that are not complete yet.", srv.inboundBytes.Load},
		{"phxgate.waiting.bytes", "Bytes of clients' events that wait for their turn.", srv.waitingBytes.Load},
		{"phxgate.outbound.bytes", "Bytes that wait for clients that do not read fast enough, what is shared counted once for each loop.", srv.outboundBytes.Load},
		{"phxgate.handshakes.waiting", "Handshakes that are held, since they are beyond a limit.", srv.handshakes.waitingNow},
		{"phxgate.joins.waiting", "Joins that wait for their turn, since they are beyond a limit.", func() int64 {
			if srv.joins == nil {
				return 0
			}
			return srv.joins.waitingNow()
		}},
		{"phxgate.draining", "1 while the gateway goes away.", func() int64 {
			if srv.Draining() {
				return 1
			}
			return 0
		}},
		{"phxgate.drain.sockets", "Sockets that were open when the drain began to close them; phxgate.sockets are left.", s.drained.load},
		{"phxgate.topics", "Topics that are subscribed on the bus.", func() int64 { return int64(srv.hub.count()) }},
	}
	counters := []single{
		{"phxgate.messages.received", "Messages from clients.", s.messagesIn.load},
		{"phxgate.received.bytes", "Bytes from clients.", s.bytesIn.load},
		{"phxgate.sent.bytes", "Bytes to clients.", s.bytesOut.load},
		{"phxgate.deliveries", "Broadcasts times the members they were for.", s.deliveries.load},
		{"phxgate.handshakes.refused", "Handshakes answered with something else than 101.", s.handshakesRefused.load},
		{"phxgate.connections.refused", "Connections beyond MAX_CONNECTIONS.", s.refusedConnections.load},
		{"phxgate.topic.gaps", "Times broadcasts of one topic were dropped since too many of it waited, counted by loop.", s.topicGaps.load},
		{"phxgate.gap.rejoins", "Channels that were told to rejoin after a gap.", s.gapRejoins.load},
	}
	labelledCounters := []byLabel{
		{"phxgate.connects", "Connect decisions.", "outcome", &s.connects},
		{"phxgate.joins", "Join decisions.", "outcome", &s.joins},
		{"phxgate.rechecks", "Joined channels that phx.authz.recheck concerned, by what came of it.", "outcome", &s.rechecks},
		{"phxgate.events", "Events from clients, by what the rule did with them.", "do", &s.events},
		{"phxgate.deliver.decisions", "Decisions of rules' deliver, each for all members of equal inputs.", "outcome", &s.decisions},
		{"phxgate.rate.limited", "Events and joins that were answered rate limited, by whose limit it was.", "scope,kind", &s.rateLimited},
		{"phxgate.sockets.ended", "Sockets that ended, by cause.", "cause", &s.socketsEnded},
		{"phxgate.admission.held", "What was beyond a limit and had to wait, handshakes and joins.", "what", &s.held},
		{"phxgate.admission.handshakes.refused", "Handshakes refused with 503 for want of admission, by what was lacking.", "lacks", &s.turnedAway},
		{"phxgate.admission.joins.refused", "Joins refused for want of admission, by what was lacking.", "lacks", &s.joinsTurnedAway},
		{"phxgate.dropped", "What was dropped, by reason.", "reason", &s.dropped},
	}
	for _, g := range gauges {
		value := g.value
		if _, err := m.Int64ObservableGauge(g.name, metric.WithDescription(g.help), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value())
			return nil
		})); err != nil {
			return fmt.Errorf("metric %s: %w", g.name, err)
		}
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
	for _, c := range labelledCounters {
		values := c.values
		sets := make([]metric.MeasurementOption, len(values.names))
		for i, name := range values.names {
			sets[i] = metric.WithAttributeSet(attributes(c.label, name))
		}
		if _, err := m.Int64ObservableCounter(c.name, metric.WithDescription(c.help), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for i := range values.n {
				o.Observe(values.n[i].load(), sets[i])
			}
			return nil
		})); err != nil {
			return fmt.Errorf("metric %s: %w", c.name, err)
		}
	}
	return nil
}

// attributes pairs names with values, each separated by commas.
func attributes(names, values string) attribute.Set {
	var pairs []attribute.KeyValue
	v := strings.Split(values, ",")
	for i, name := range strings.Split(names, ",") {
		pairs = append(pairs, attribute.String(name, v[i]))
	}
	return attribute.NewSet(pairs...)
}
