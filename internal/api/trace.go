package api

import (
	"net/http"
	"regexp"
)

// traceParent is a traceparent header (W3C Trace Context §3.2), of this version or a later one.
var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,64})?$`)

// traceState is a tracestate header of no more than what must be passed on (§3.3.1.5): printable ASCII.
var traceState = regexp.MustCompile(`^[!-~][ -~]{0,511}$`)

// traceOf returns the trace context of a request. One that is malformed is none (§3.2.2), and so is a tracestate without its traceparent.
func traceOf(r *http.Request) (t Trace) {
	if parents := r.Header["Traceparent"]; len(parents) == 1 && traceParent.MatchString(parents[0]) {
		t.Parent = parents[0]
		if states := r.Header["Tracestate"]; len(states) == 1 && traceState.MatchString(states[0]) {
			t.State = states[0]
		}
	}
	return t
}
