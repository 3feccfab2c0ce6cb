package backend

import (
	"context"

	"github.com/nats-io/nats.go"
)

// Trace is a W3C trace context as its headers have it; empty strings for none. A handler's ctx holds the one that came with its message, and what is published with
// that ctx carries it on; a call's reply does not, since the gateway knows what it answers. A tracer that starts a span of its own puts it there with WithTrace.
type Trace struct {
	Parent string // traceparent
	State  string // tracestate
}

type traceKey struct{}

// WithTrace returns a ctx with that trace context.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace context of ctx, the zero Trace if it has none.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

// withTraceOf puts the trace context of a message into ctx.
func withTraceOf(ctx context.Context, msg *nats.Msg) context.Context {
	t := Trace{Parent: header(msg, "traceparent"), State: header(msg, "tracestate")}
	if t == (Trace{}) {
		return ctx
	}
	return WithTrace(ctx, t)
}

// trace puts the trace context of ctx on a message.
func trace(ctx context.Context, msg *nats.Msg) {
	t := TraceOf(ctx)
	setHeader(msg, "traceparent", t.Parent)
	setHeader(msg, "tracestate", t.State)
}

// header returns a header's first value. Header names are matched as they are written.
func header(msg *nats.Msg, name string) string {
	if values := msg.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// setHeader sets a header unless its value is empty. A message without headers is a third of the work for NATS, so none is made before it is needed.
func setHeader(msg *nats.Msg, name, value string) {
	if value == "" {
		return
	}
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	msg.Header[name] = []string{value}
}
