package e2e

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// hand is a client of js/hand.mjs: phoenix.js 1.8, told step by step what to do. What it sees and nobody waits for is skipped.
type hand struct{ *script }

// sight is what the client sees: an event, a reply, or the end of its socket.
type sight struct {
	Finding, Topic, Event, Status string
	Payload, Response             any
	Code                          int
}

// into decodes the payload into what has its shape; false where it has another.
func (s sight) into(v any) bool {
	text, err := json.Marshal(s.Payload)
	return err == nil && json.Unmarshal(text, v) == nil
}

// openHand connects a client to a gateway.
func openHand(t *testing.T, addr string) *hand {
	t.Helper()
	h := &hand{runScript(t, "hand.mjs", map[string]any{"url": socketURL(addr)}, phxtest.Scaled(time.Minute))}
	h.say(map[string]any{"connect": map[string]any{"name": "Ann"}})
	h.until("the open socket", func(s sight) bool { return s.Finding == "open" })
	return h
}

// say writes one line to the client.
func (h *hand) say(line map[string]any) {
	h.t.Helper()
	text, err := json.Marshal(line)
	if err == nil {
		_, err = h.stdin.Write(append(text, '\n'))
	}
	if err != nil {
		h.t.Fatalf("say %v: %v", line, err)
	}
}

// until waits for a sight, and returns it.
func (h *hand) until(what string, match func(sight) bool) sight {
	h.t.Helper()
	late := time.NewTimer(2 * phxtest.Patience())
	defer late.Stop()
	var seen []string
	for {
		select {
		case f, ok := <-h.findings:
			var s sight
			if !ok {
				_ = h.wait() // what it said is the failure
				h.t.Fatalf("%s: the client ended, after %q\n%s", what, seen, h.stderr.String())
			}
			if f.into(h.t, &s); match(s) {
				return s
			}
			seen = append(seen, string(f.fields))
		case <-late.C:
			h.t.Fatalf("%s: waited in vain; seen: %q", what, seen)
		}
	}
}

// join joins a topic and returns the response.
func (h *hand) join(topic string) any {
	h.t.Helper()
	h.say(map[string]any{"join": topic})
	s := h.wantReply("join")
	if s.Status != "ok" {
		h.t.Fatalf("join: %s %v", s.Status, s.Response)
	}
	return s.Response
}

func (h *hand) push(topic, event string) { h.say(map[string]any{"push": event, "topic": topic}) }

func (h *hand) wantReply(event string) sight {
	h.t.Helper()
	return h.until("the reply to "+event, func(s sight) bool { return s.Finding == "reply" && s.Event == event })
}

// wantEvent waits for an event with that payload, JSON.
func (h *hand) wantEvent(topic, event, payload string) {
	h.t.Helper()
	h.until(event+" "+payload, func(s sight) bool {
		return s.Finding == "event" && s.Topic == topic && s.Event == event && same(h.t, s.Payload, payload)
	})
}

// wantAnswer waits for the reply to a push: this status, this response.
func (h *hand) wantAnswer(event, status, response string) {
	h.t.Helper()
	if s := h.wantReply(event); s.Status != status || !same(h.t, s.Response, response) {
		h.t.Errorf("%s: reply %s %v, want %s %s", event, s.Status, s.Response, status, response)
	}
}

// wantEnd waits for what a client sees of the Phx-Action close or crash.
func (h *hand) wantEnd(action string) {
	h.t.Helper()
	event := map[string]string{"close": "phx_close", "crash": "phx_error"}[action]
	h.until(action, func(s sight) bool { return s.Finding == "event" && s.Event == event })
}

// wantPresent waits for a presence_state with that key, or with one key at least, and returns it.
func (h *hand) wantPresent(key string) string {
	h.t.Helper()
	h.until("presence_state with "+key, func(s sight) bool {
		var state map[string]any
		if s.Event != "presence_state" || !s.into(&state) {
			return false
		}
		if key == "" {
			for key = range state {
			}
		}
		return state[key] != nil
	})
	return key
}

// same compares a decoded value with JSON.
func same(t *testing.T, got any, want string) bool {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(want), &v); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	return reflect.DeepEqual(got, v)
}
