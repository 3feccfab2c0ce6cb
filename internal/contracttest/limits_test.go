package contracttest

import (
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// What is beyond INBOUND_BYTES_TOTAL costs the largest messages.
func TestInboundBytesTotal(t *testing.T) {
	t.Parallel()
	g, _ := setup(t, everything, "INBOUND_BYTES_TOTAL=400000")
	part := func(n int) []byte { return frame(fin|text, "["+strings.Repeat(" ", 500_000))[:n] }
	large := g.dial(t, phxtest.Name("large"))
	large.SendRaw(part(200_000))
	var small []*phxtest.Client
	for range 4 { // 440,000 in all, however roughly a gateway counts
		c := g.dial(t, phxtest.Name("small"))
		c.SendRaw(part(60_000))
		small = append(small, c)
	}
	large.WantClosed(1009)
	large.WantEnded()
	for _, c := range small {
		c.WantNothing(50 * time.Millisecond)
	}
}

// A client that does not read is aborted when OUTBOUND_BYTES wait for it; the
// others are not held up.
func TestSlowSocket(t *testing.T) {
	t.Parallel()
	g, b := setup(t, everything, "OUTBOUND_BYTES=65536")
	left := b.listen("phx.left.>")
	slow, other := g.dial(t, phxtest.Paused(), phxtest.Name("slow")), g.dial(t, phxtest.Name("other"))
	slow.StartJoin("room:1", struct{}{})
	other.Join("room:1", struct{}{})
	body := `{"a":"` + strings.Repeat("x", 60_000) + `"}`
	for n := 0; ; n++ {
		b.publish("phx.topic.room.1", body, "Phx-Event", "m")
		other.WantEvent("room:1", "m", body)
		if msg, err := left.NextMsg(time.Millisecond); err == nil {
			if string(msg.Data) != `{"reason":"disconnected"}` {
				t.Errorf("left: %s, want disconnected", msg.Data)
			}
			break
		}
		if n == 500 {
			t.Fatal("30 MB were published and the slow socket is still there")
		}
	}
	// A single larger message goes if nothing waits.
	large := `{"a":"` + strings.Repeat("x", 500_000) + `"}`
	b.publish("phx.topic.room.1", large, "Phx-Event", "m")
	other.WantEvent("room:1", "m", large)
}
