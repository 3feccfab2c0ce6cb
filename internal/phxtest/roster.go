package phxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Roster is a topic's presence as the JavaScript client keeps it
// (phoenix.js 1.8, presence.js: syncState, syncDiff): diffs wait for the first
// state of a join, joins are merged before leaves, metas are told by phx_ref.
// The zero value has just joined.
type Roster struct {
	metas   map[string][]meta
	synced  bool
	pending []diff
	// Left is how many metas went.
	Left int
}

type meta struct {
	Ref  string `json:"phx_ref"`
	text string
}

type presences map[string]struct {
	Metas []json.RawMessage `json:"metas"`
}

type diff struct {
	Joins, Leaves presences
}

// Rejoined forgets that the channel was synced, as a rejoin does.
func (r *Roster) Rejoined() { r.synced, r.pending = false, nil }

// Synced reports whether there was a state since the last join.
func (r *Roster) Synced() bool { return r.synced }

// Take takes a message of the topic; others than presence's are ignored.
func (r *Roster) Take(event string, payload []byte) error {
	switch event {
	case "presence_state":
		var state presences
		if err := json.Unmarshal(payload, &state); err != nil {
			return fmt.Errorf("presence_state: %w", err)
		}
		return r.state(state)
	case "presence_diff":
		var d diff
		if err := json.Unmarshal(payload, &d); err != nil {
			return fmt.Errorf("presence_diff: %w", err)
		}
		if !r.synced {
			r.pending = append(r.pending, d)
			return nil
		}
		return r.apply(d)
	}
	return nil
}

func (r *Roster) state(state presences) error {
	r.metas = map[string][]meta{}
	for key, p := range state {
		metas, err := parseMetas(key, p.Metas)
		if err != nil {
			return err
		}
		r.metas[key] = metas
	}
	r.synced = true
	for _, d := range r.pending {
		if err := r.apply(d); err != nil {
			return err
		}
	}
	r.pending = nil
	return nil
}

func (r *Roster) apply(d diff) error {
	for key, p := range d.Joins {
		joined, err := parseMetas(key, p.Metas)
		if err != nil {
			return err
		}
		kept := slices.DeleteFunc(slices.Clone(r.metas[key]), func(m meta) bool {
			return slices.ContainsFunc(joined, func(j meta) bool { return j.Ref == m.Ref })
		})
		r.metas[key] = append(kept, joined...)
	}
	for key, p := range d.Leaves {
		left, err := parseMetas(key, p.Metas)
		if err != nil {
			return err
		}
		if len(r.metas[key]) == 0 {
			continue
		}
		before := len(r.metas[key])
		kept := slices.DeleteFunc(slices.Clone(r.metas[key]), func(m meta) bool {
			return slices.ContainsFunc(left, func(l meta) bool { return l.Ref == m.Ref })
		})
		r.Left += before - len(kept)
		if len(kept) == 0 {
			delete(r.metas, key)
		} else {
			r.metas[key] = kept
		}
	}
	return nil
}

func parseMetas(key string, raw []json.RawMessage) ([]meta, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("key %q has no metas", key)
	}
	metas := make([]meta, len(raw))
	for i, text := range raw {
		if err := json.Unmarshal(text, &metas[i]); err != nil || metas[i].Ref == "" {
			return nil, fmt.Errorf("key %q: meta %s has no phx_ref", key, text)
		}
		metas[i].text = string(text)
	}
	return metas, nil
}

// Refs is key/phx_ref of every meta, sorted.
func (r *Roster) Refs() (refs []string) {
	for key, metas := range r.metas {
		for _, m := range metas {
			refs = append(refs, key+"/"+m.Ref)
		}
	}
	slices.Sort(refs)
	return refs
}

// Len is how many keys are there, Metas how many metas a key has.
func (r *Roster) Len() int             { return len(r.metas) }
func (r *Roster) Metas(key string) int { return len(r.metas[key]) }

// String is who is there: "ann bob*2" for one meta of ann and two of bob.
func (r *Roster) String() string {
	var keys []string
	for key, metas := range r.metas {
		if len(metas) > 1 {
			key = fmt.Sprintf("%s*%d", key, len(metas))
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// Meta is the first meta of a key as it came; "" if there is none.
func (r *Roster) Meta(key string) string {
	if metas := r.metas[key]; len(metas) > 0 {
		return metas[0].text
	}
	return ""
}

// Texts is all metas of a key as they came.
func (r *Roster) Texts(key string) (texts []string) {
	for _, m := range r.metas[key] {
		texts = append(texts, m.text)
	}
	return texts
}

// Keys is who is there.
func (r *Roster) Keys() (keys []string) {
	for key := range r.metas {
		keys = append(keys, key)
	}
	return keys
}

// WantRoster reads what comes until the roster of the topic says who, within d
// where that is not 0 and else the usual patience.
func (c *Client) WantRoster(r *Roster, topic, who string, d time.Duration) {
	c.t.Helper()
	if d == 0 {
		d = Patience()
	}
	deadline := time.Now().Add(d)
	for !r.synced || r.String() != who {
		f, err := c.ws.recv(context.Background(), time.Until(deadline))
		c.check(err, "roster of %s is %q (synced: %t), want %q", topic, r, r.synced, who)
		c.TakeInto(r, topic, f)
	}
}

// TakeInto gives a frame to the roster, if it is of its topic.
func (c *Client) TakeInto(r *Roster, topic string, f Frame) {
	c.t.Helper()
	if m, err := ParseMessage(f); err == nil && m.Topic == topic {
		c.check(r.Take(m.Event, m.Payload), "roster of %s", topic)
	}
}
