package contracttest

import (
	"fmt"
	"strings"
	"testing"
)

func TestAssignsAreMerged(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	events, left := b.listen("phx.event.>"), b.listen("phx.left.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	var pushed []string
	for range 5 {
		pushed = append(pushed, c.Push("room:1", "ask", struct{}{}))
	}
	for n, step := range []struct{ got, set string }{
		{`{}`, `{"a":1,"b":{"x":1}}`},
		{`{"a":1,"b":{"x":1}}`, `{"b":{"y":2},"c":"\u00e9"}`},
		{`{"a":1,"b":{"y":2},"c":"é"}`, `{"a":null}`},
		{`{"a":null,"b":{"y":2},"c":"é"}`, `{}`},
		{`{"a":null,"b":{"y":2},"c":"é"}`, ``},
	} {
		msg := next(t, events)
		wantJSON(t, fmt.Sprintf("assigns of event %d", n), []byte(msg.Header.Get("Phx-Assigns")), step.got)
		if step.set != "" {
			reply(msg, ``, "Phx-Assigns", step.set)
		} else {
			reply(msg, ``)
		}
		c.WantReply(pushed[n], "ok")
	}
	c.Leave("room:1")
	wantJSON(t, "assigns of left", []byte(next(t, left).Header.Get("Phx-Assigns")), `{"a":null,"b":{"y":2},"c":"é"}`)
}

func TestAssignsLimit(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything)
	events := b.listen("phx.event.>")
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	// sized is an object of exactly n bytes.
	sized := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	ref := c.Push("room:1", "ask", struct{}{})
	reply(next(t, events), ``, "Phx-Assigns", sized(16384))
	c.WantReply(ref, "ok")
	c.Push("room:1", "ask", struct{}{})
	msg := next(t, events)
	if got := msg.Header.Get("Phx-Assigns"); got != sized(16384) {
		t.Errorf("assigns of %d bytes, want 16384", len(got))
	}
	reply(msg, ``, "Phx-Assigns", `{"b":1}`)
	c.WantUntil(`["1","1","room:1","phx_error",{"reason":"channel_crash"}]`)
}
