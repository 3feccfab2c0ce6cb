package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strings"
)

// Trace is a W3C trace context: values of the headers traceparent and tracestate, the latter "" where there is none.
type Trace struct{ Parent, State string }

// maxTraceState is how many bytes of tracestate are carried (W3C Trace Context §3.3.1.5: at least 512).
const maxTraceState = 512

// traceOf is the trace context of a request; false if it has none that is valid. A tracestate that is too long or not printable is left out: the rest holds without it (§3.3.1).
func traceOf(h http.Header) (Trace, bool) {
	parents := h.Values("Traceparent")
	if len(parents) != 1 || !validTraceParent(parents[0]) {
		return Trace{}, false
	}
	t := Trace{Parent: parents[0], State: strings.Join(h.Values("Tracestate"), ",")}
	if len(t.State) > maxTraceState || strings.ContainsFunc(t.State, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.State = ""
	}
	return t, true
}

// validTraceParent checks version 00 of version-traceid-parentid-flags (§3.2.2). There is no other yet.
func validTraceParent(v string) bool {
	const shape = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx"
	if len(v) != len(shape) {
		return false
	}
	for i := range len(shape) {
		if shape[i] != 'x' {
			if v[i] != shape[i] {
				return false
			}
		} else if !strings.ContainsRune("0123456789abcdef", rune(v[i])) {
			return false
		}
	}
	return strings.Trim(v[3:35], "0") != "" && strings.Trim(v[36:52], "0") != ""
}

// newTrace begins a trace. It says that the trace is recorded, or not, for the given share of all.
func newTrace(sampled float64) Trace {
	var b [24]byte
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], rand.Uint64()|1) // no id is all zeros
	}
	flags := "00"
	if rand.Float64() < sampled {
		flags = "01"
	}
	v := make([]byte, 0, 55)
	v = append(v, "00-"...)
	v = hex.AppendEncode(v, b[:16])
	v = append(v, '-')
	v = hex.AppendEncode(v, b[16:])
	v = append(v, '-')
	return Trace{Parent: string(append(v, flags...))}
}

// trace is the context of what a socket causes now: that of its connect request as it was, since a gateway records no spans that could stand between, or a new one.
func (l *loop) trace(s *socket) Trace {
	if len(l.traces) > 0 {
		if t, ok := l.traces[s]; ok {
			return t
		}
	}
	return newTrace(l.srv.cfg.TraceSampleRatio)
}
