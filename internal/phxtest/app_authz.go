package phxtest

import (
	"encoding/json"

	"github.com/nats-io/nats.go"
)

// connect decides a connect request.
func connect(request []byte) any {
	var r struct {
		Params map[string]json.RawMessage
	}
	if err := json.Unmarshal(request, &r); err != nil {
		return map[string]any{"allow": false, "reason": "bad request: " + err.Error()}
	}
	if text(r.Params["reject"]) == "true" {
		return map[string]any{"allow": false, "reason": "rejected by the params"}
	}
	reply := map[string]any{"allow": true}
	if uid, ok := r.Params["uid"]; ok {
		reply["id"] = "user_socket:" + text(uid)
	}
	return reply
}

// join decides a join request, the params in the order of the transcripts'
// rules: deny, boom, sleep_ms, reply, presence. Params that are no object count as {}.
func (a *App) join(msg *nats.Msg) {
	var r struct {
		Params json.RawMessage
	}
	if err := json.Unmarshal(msg.Data, &r); err != nil {
		a.answer(msg, joinError(map[string]any{"reason": "bad request: " + err.Error()}))
		return
	}
	params := object(r.Params)
	if reason, ok := params["deny"]; ok {
		a.answer(msg, joinError(reason))
		return
	}
	if isTrue(params["boom"]) {
		// What Phoenix tells the client where join/3 raises.
		a.answer(msg, joinError(map[string]any{"reason": "join crashed"}))
		return
	}
	if d := milliseconds(params["sleep_ms"]); d > 0 && !a.after(d) {
		return
	}
	reply := map[string]any{"status": "ok"}
	if response, ok := params["reply"]; ok {
		reply["response"] = response
	}
	if presence, ok := params["presence"]; ok {
		reply["presence"] = presence
	}
	a.answer(msg, reply)
}

func joinError(response any) any {
	return map[string]any{"status": "error", "response": response}
}

// joined does what the channel does once it is joined, told by
// <prefix>.joined.<topic tokens>, which comes after the join reply went out.
func (a *App) joined(msg *nats.Msg, topic string) {
	params := object(msg.Data)
	if isTrue(params["greet"]) {
		a.push(msg.Header.Get("Phx-Channel"), "greeting", payload{body: []byte(`{"hello":true}`)})
	}
	if isTrue(params["announce"]) {
		a.broadcast(topic, "entered", payload{body: []byte(`{}`)}, "")
	}
}

func isTrue(value json.RawMessage) bool { return string(value) == "true" }

// text is a JSON string's text; of other values, the JSON.
func text(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return string(value)
	}
	return s
}
