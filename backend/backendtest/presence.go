package backendtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/phxgate/phxgate/backend"
)

// presence answers as docs/contract.md, "Presence", says. Unlike the service it takes the word of whoever calls a channel joined.
type presence struct {
	topics map[string]map[entry]json.RawMessage // by the topic's tokens
	last   int                                  // phx_ref
}

// entry is one tracked channel under one key.
type entry struct{ key, channel string }

func newPresence() *presence { return &presence{topics: map[string]map[entry]json.RawMessage{}} }

func (p *presence) answer(kind, topic string, body []byte) []byte {
	var request struct {
		After   string
		Limit   int
		Channel string
		Op      string
		Key     string
		Meta    map[string]any
	}
	var answer any
	switch err := json.Unmarshal(body, &request); {
	case err != nil:
		answer = map[string]string{"error": err.Error()}
	case kind == "list":
		answer = p.page(topic, request.After, request.Limit)
	default:
		answer = map[string]string{"status": "ok"}
		if reason := p.change(topic, request.Op, entry{request.Key, request.Channel}, request.Meta); reason != "" {
			answer = map[string]string{"status": "error", "reason": reason}
		}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err) // of maps, strings and JSON that was decoded
	}
	return text
}

// change returns the reason why it is refused, if it is.
func (p *presence) change(topic, op string, e entry, meta map[string]any) (reason string) {
	entries := p.topics[topic]
	if entries == nil {
		entries = map[entry]json.RawMessage{}
		p.topics[topic] = entries
	}
	if e.key == "" { // that of its join: the only one there can be here
		for tracked := range entries {
			if tracked.channel == e.channel {
				e.key = tracked.key
			}
		}
	}
	old, tracked := entries[e]
	switch {
	case op == "untrack":
		delete(entries, e)
		return ""
	case op == "track" && tracked:
		return "already tracked"
	case op != "track" && !tracked:
		return "not tracked"
	case op == "track" && e.key == "":
		return "invalid presence key"
	}
	meta = maps.Clone(meta)
	if meta == nil {
		meta = map[string]any{}
	}
	delete(meta, "phx_ref_prev")
	if tracked {
		var before struct {
			Ref string `json:"phx_ref"`
		}
		if err := json.Unmarshal(old, &before); err != nil {
			panic(err) // what this function wrote
		}
		meta["phx_ref_prev"] = before.Ref
	}
	p.last++
	meta["phx_ref"] = fmt.Sprintf("ref%d", p.last)
	text, err := json.Marshal(meta)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	entries[e] = text
	return ""
}

func (p *presence) page(topic, after string, limit int) any {
	all := map[string]backend.Present{}
	for _, e := range slices.SortedFunc(maps.Keys(p.topics[topic]), compare) {
		if e.key > after {
			all[e.key] = backend.Present{Metas: append(all[e.key].Metas, p.topics[topic][e])}
		}
	}
	keys := slices.Sorted(maps.Keys(all))
	var next *string
	if limit > 0 && len(keys) > limit {
		next = &keys[limit-1]
		for _, key := range keys[limit:] {
			delete(all, key)
		}
	}
	return map[string]any{"presences": all, "next": next}
}

// compare orders by key, then by channel.
func compare(a, b entry) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.channel, b.channel))
}
