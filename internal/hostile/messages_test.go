package hostile

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway"
)

// messageClasses are whole frames with something odd in them.
func messageClasses() []class {
	return []class{
		{"deep JSON", func(cfg *gateway.Config) { cfg.MaxFrameBytes = 1 << 20 }, deepJSON},
		{"large refs", nil, largeRefs},
		{"odd topics", nil, oddTopics},
		{"odd events", nil, oddEvents},
		{"binary headers", nil, binaryHeaders},
	}
}

// join joins a topic as join_ref "j" and wants it to succeed.
func (r *raw) join(topic string) {
	r.a.Helper()
	r.write(text(array("j", "j", topic, "phx_join", map[string]any{})))
	if m := r.message(); m.Ref != "j" || m.Status != "ok" || m.Topic != topic {
		r.a.fail("join of %q: %v %s %s", topic, m.Ref, m.Status, m.Payload)
	}
}

// wantReply wants the reply to a ref, skipping messages that are none.
func (r *raw) wantReply(ref, status, reason string) {
	r.a.Helper()
	for {
		m := r.message()
		if m.Event != "phx_reply" {
			continue
		}
		want := "{}"
		if reason != "" {
			want = `{"reason":"` + reason + `"}`
		}
		if m.Ref != ref || m.Status != status || string(m.Payload) != want {
			r.a.fail("reply to %q: %s %.200s, want to %q: %s %s", m.Ref, m.Status, m.Payload, ref, status, want)
		}
		return
	}
}

// array is a V2 message.
func array(values ...any) string {
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // a test passes strings and maps
	}
	return string(b)
}

// deepJSON sends 100,000 levels: valid JSON, which a backend may be asked about, but which is never broadcast (docs/contract.md: 1,000 levels).
func deepJSON(a *arena, v variant) (end func()) {
	const levels = 100_000
	deep := strings.Repeat("[", levels) + strings.Repeat("]", levels)
	if v.r.IntN(2) == 0 {
		deep = strings.Repeat(`{"":`, levels) + "0" + strings.Repeat("}", levels)
	}
	object := `{"d":` + deep + `}`
	r := a.open()
	switch v.n % 5 {
	case 0:
		r.join("deep")
		r.writePieces(v.r, text(`["j","1","deep","x",`+deep+`]`))
		return func() { r.wantReply("1", "ok", ""); r.conn.Close() }
	case 1:
		r.join("deep")
		r.writePieces(v.r, text(`["j","1","deep","b",`+object+`]`))
		return func() { r.wantReply("1", "error", "invalid payload"); r.wantServed(); r.conn.Close() }
	case 2:
		r.writePieces(v.r, text(`["j","j","deep","phx_join",`+object+`]`))
		return func() { r.wantReply("j", "ok", ""); r.wantServed(); r.conn.Close() }
	case 3: // as the sixth element, which is ignored, and as a ref, which is too large
		r.write(text(`[null,"1","phoenix","heartbeat",{},` + deep + `]`))
		r.want(ws.OpText, beatReply("1"))
		r.writePieces(v.r, text(`[null,`+deep+`,"phoenix","heartbeat",{}]`))
	case 4: // one bracket is missing
		r.writePieces(v.r, text(`["j","1","deep","x",`+deep[:len(deep)-1]+`]`))
	}
	return func() { r.wantClose(1011) }
}

// largeRefs: refs and join_refs of 1,024 bytes are echoed, larger ones are malformed.
func largeRefs(a *arena, v variant) (end func()) {
	r := a.open()
	fits := strings.Repeat("r", 1022) // and two quotes
	r.write(text(array(fits, fits, "refs", "phx_join", struct{}{})))
	r.want(ws.OpText, array(fits, fits, "refs", "phx_reply", json.RawMessage(`{"status":"ok","response":{}}`)))
	r.write(text(array(fits, "1", "refs", "phx_leave", struct{}{})))
	r.want(ws.OpText, array(fits, "1", "refs", "phx_reply", json.RawMessage(`{"status":"ok","response":{}}`)))
	r.want(ws.OpText, array(fits, fits, "refs", "phx_close", struct{}{}))
	large := fits + strings.Repeat("r", 1+v.r.IntN(8000))
	attack := array(nil, large, "phoenix", "heartbeat", struct{}{})
	switch v.n % 4 {
	case 1:
		attack = array(large, "2", "refs", "phx_join", struct{}{})
	case 2:
		attack = `[null,` + strings.Repeat("9", len(large)) + `,"refs","phx_join",{}]`
	case 3:
		attack = `[null,{"` + large + `":[]},"refs","phx_leave",{}]`
	}
	r.writePieces(v.r, text(attack))
	return func() { r.wantClose(1011) }
}

// oddities are strings that mean something to NATS, HTTP or a careless decoder.
func oddities(v variant) []string {
	return []string{
		"*", ">", ".", " ", "", "a.b", "a..b", ".a", "a.", "room.>", "room.*.x", "x\r\nNats-Service-Error: x", "x\r\n\r\nbody", "\n", "\x00", "a\x00b", "\x1b[31m", "$JS.API.STREAM.DELETE.x",
		"$SYS.REQ.SERVER.PING", "_INBOX.x", "phx.channel.x", "+OK", "PUB a 1", "=2E", "=", "=2e", "%2e", ":", "::", ":a:", "é", "\u2028", "\U0001F600", " lead and trail ", "../..",
		"__proto__", "phoenix", "phx_reply", strings.Repeat("a", 255), strings.Repeat("é", 127), strings.Repeat("a", 256), strings.Repeat(">", 300),
		strings.Repeat("a:", 15) + "a", strings.Repeat("a:", 16) + "a", strings.Repeat(":", 16), strings.Repeat(".", 255), strings.Repeat("\x00", 255),
		string([]rune{rune(v.r.IntN(0xd800)), rune(v.r.IntN(128)), rune(v.r.IntN(128))}),
	}
}

// oddTopics joins, speaks and leaves. NATS sees a topic only if it is valid, and then in its one form: the recorder looks.
func oddTopics(a *arena, v variant) (end func()) {
	r := a.open()
	all := oddities(v)
	valid := map[string]bool{}
	want := map[any]string{} // by ref: joins wait for NATS, and topics do not wait for each other
	for _, i := range v.r.Perm(len(all))[:8] {
		topic := all[i]
		valid[topic] = topic != "" && len(topic) <= 255 && strings.Count(topic, ":") <= 15
		var batch strings.Builder
		for _, event := range []string{"phx_join", "b", "c", "x", "phx_leave"} {
			ref := fmt.Sprint(i, event)
			batch.WriteString(text(array("j", ref, topic, event, map[string]string{"topic": topic})))
			switch {
			case valid[topic] || event == "phx_leave":
				want[ref] = "ok {}"
			case event == "phx_join":
				want[ref] = `error {"reason":"invalid topic"}`
			default:
				want[ref] = `error {"reason":"unmatched topic"}`
			}
		}
		r.writePieces(v.r, batch.String())
	}
	return func() {
		for len(want) > 0 {
			m := r.message()
			if m.Event != "phx_reply" {
				continue
			}
			if got := m.Status + " " + string(m.Payload); got != want[m.Ref] {
				a.fail("topic %q: reply to %v: %s, want %s", m.Topic, m.Ref, got, want[m.Ref])
			}
			delete(want, m.Ref)
		}
		for topic, expected := range valid {
			if saw := a.seen.saw(topic); saw != expected { // its call was answered, by the recorder
				a.fail("NATS saw topic %q: %v, want %v", topic, saw, expected)
			}
		}
		r.conn.Close()
	}
}

// oddEvents does the same to event names, broadcast, cast and called, and to refs.
func oddEvents(a *arena, v variant) (end func()) {
	r := a.open()
	r.join("events")
	all := oddities(v)
	for range 8 {
		event, ref := []string{"", "b", "c"}[v.r.IntN(3)]+all[v.r.IntN(len(all))], all[v.r.IntN(len(all))]
		if len(array(ref)) > 1024 {
			ref = "" // largeRefs has those
		}
		r.write(text(array("j", ref, "events", event, struct{}{})))
		if len(event) > 255 {
			r.wantReply(ref, "error", "invalid event")
		} else {
			r.wantReply(ref, "ok", "")
		}
	}
	r.write(text(`["j","1","events",{"an":"object"},{}]`))
	r.wantReply("1", "error", "invalid event")
	// Half a surrogate pair is no character: the name has U+FFFD there, and no bytes of UTF-16 reach NATS.
	r.write(text(`["j","2","events","` + []string{`\ud800`, `\udc00x`, `\ud83d\ud83d`}[v.n%3] + `",{}]`))
	r.wantReply("2", "ok", "")
	r.wantServed()
	r.conn.Close()
	return nil
}

// binaryHeaders hold fields that are odd, not UTF-8, or beyond the frame's end.
func binaryHeaders(a *arena, v variant) (end func()) {
	r := a.open()
	r.join("bytes")
	push := func(joinRef, ref, topic, event, payload string) string {
		return string([]byte{0, byte(len(joinRef)), byte(len(ref)), byte(len(topic)), byte(len(event))}) + joinRef + ref + topic + event + payload
	}
	all := oddities(v)
	for range 4 {
		event := all[v.r.IntN(len(all))]
		if len(event) > 255 {
			continue
		}
		r.write(frame(ws.OpBinary, true, push("j", "1", "bytes", event, randomBytes(v.r, v.r.IntN(300)))))
		r.wantReply("1", "ok", "")
	}
	bad := notUTF8[v.n%len(notUTF8)]
	fields := []string{"j", "1", "bytes", "x"}
	fields[v.n%4] += bad
	attack := push(fields[0], fields[1], fields[2], fields[3], "payload")
	switch v.n % 5 {
	case 3:
		attack = push("j", "1", "bytes", "x", "")
		attack = attack[:v.r.IntN(len(attack))] // cut short anywhere
	case 4:
		attack = string([]byte{byte(1 + v.r.IntN(255))}) + attack[1:] // a client sends pushes alone
	default:
		if utf8.ValidString(attack[5:]) {
			a.fail("%q is UTF-8: the test does not attack", attack)
		}
	}
	r.writePieces(v.r, frame(ws.OpBinary, true, attack))
	return func() { r.wantClose(1011) }
}
