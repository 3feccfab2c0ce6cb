package hostile

import (
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// channelClasses abuse joins, leaves and pushes.
func channelClasses() []class {
	return []class{
		{"join floods", nil, joinFlood},
		{"random order", nil, randomOrder},
	}
}

// joinFlood sends 1,000 joins at once: of one topic, each of which ends the one before, or of as many topics, of which 100 are joined.
func joinFlood(a *arena, v variant) (end func()) {
	const joins, channels = 1000, 100
	r := a.open()
	same := v.n%2 == 0
	var flood strings.Builder
	for i := range joins {
		topic := "flood" + strconv.Itoa(v.n)
		if !same {
			topic += ":" + strconv.Itoa(i)
		}
		flood.WriteString(text(array(strconv.Itoa(i), strconv.Itoa(i), topic, "phx_join", struct{}{})))
	}
	r.writePieces(v.r, flood.String())
	return func() {
		a.Helper()
		outcomes, answered := map[string]int{}, map[any]bool{}
		for len(answered) < joins {
			m := r.message()
			if m.Event == "phx_close" {
				continue
			}
			if m.Event != "phx_reply" || answered[m.Ref] {
				a.fail("unexpected or answered twice: %v", m)
			}
			answered[m.Ref] = true
			outcomes[m.Status+string(m.Payload)]++
		}
		switch joined, refused := outcomes["ok{}"], outcomes[`error{"reason":"too many channels joined"}`]; {
		case same && joined != joins:
			a.fail("outcomes %v, want all joined, one after the other", outcomes)
		case !same && (joined != channels || refused != joins-channels):
			a.fail("outcomes %v, want %d joined", outcomes, channels)
		}
		// The phx_close of the last but one may come behind the last reply.
		r.write(text(beat("end")))
		for m := r.message(); m.Ref != "end"; m = r.message() {
			if m.Event != "phx_close" {
				a.fail("unexpected %v", m)
			}
		}
		r.conn.Close()
	}
}

// randomOrder sends 1,000 messages, 20,000 in all: joins, leaves and pushes of a few topics with good, old and absent join_refs. Each ref is answered at most
// once; that each channel ends exactly once is the recorder's to see.
func randomOrder(a *arena, v variant) (end func()) {
	const messages = 20_000 / variants
	r := a.open()
	topics := []string{"order:a", "order:b", "order" + strconv.Itoa(v.n)}
	last := map[string]any{} // join_ref of the last join, by topic
	pushed := map[any]bool{} // refs that were sent
	answered := map[any]bool{}
	take := func(m phxtest.Message) (last bool) {
		a.Helper()
		if m.Event == "phx_reply" {
			if !pushed[m.Ref] || answered[m.Ref] {
				a.fail("ref %v was answered twice, or never sent", m.Ref)
			}
			answered[m.Ref] = true
		}
		return m.Ref == "end"
	}
	var batch strings.Builder
	for n := range messages {
		topic, ref := topics[v.r.IntN(len(topics))], strconv.Itoa(n)
		joinRef := last[topic]
		switch v.r.IntN(6) {
		case 0:
			joinRef = strconv.Itoa(v.r.IntN(n + 1)) // most likely an old one
		case 1:
			joinRef = nil
		}
		event := []string{"x", "b", "c", "phx_leave", "x"}[v.r.IntN(5)]
		if v.r.IntN(5) == 0 {
			event, joinRef = "phx_join", ref
			last[topic] = ref
		}
		pushed[ref] = true
		batch.WriteString(text(array(joinRef, ref, topic, event, struct{}{})))
		if n%100 == 99 { // now and then everything is read
			pushed["end"] = true
			r.writePieces(v.r, batch.String()+text(beat("end")))
			batch.Reset()
			for !take(r.message()) {
			}
			delete(answered, "end")
		}
	}
	if len(answered) < messages/4 {
		a.fail("%d of %d refs were answered", len(answered), messages)
	}
	switch v.r.IntN(3) { // however it ends, with calls that wait
	case 0:
		r.reset()
	case 1:
		r.conn.Close()
	case 2:
		r.write(frame(ws.OpClose, true, "\x03\xe8"))
		for {
			f, err := r.next()
			if err != nil {
				a.fail("%v, want the close", err)
			}
			if f.Header.OpCode == ws.OpClose {
				break
			}
		}
		r.wantEnd()
	}
	return nil
}
