package presence

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Meta is one tracked channel as clients see it.
type Meta struct {
	Ref  string // its phx_ref
	JSON []byte // the whole object, phx_ref and perhaps phx_ref_prev in it; never changed
}

// Presences is the metas of each key: what presence_state holds, and either side of a diff. No key is without metas.
type Presences map[string][]Meta

// newMeta makes a meta of what a gateway tracked. prev is the phx_ref that it replaces, or "".
func newMeta(ref, prev string, body []byte) Meta {
	out := make([]byte, 0, len(body)+len(ref)+len(prev)+40)
	out = append(out, `{"phx_ref":`...)
	out = phx.AppendQuote(out, ref)
	if prev != "" {
		out = append(out, `,"phx_ref_prev":`...)
		out = phx.AppendQuote(out, prev)
	}
	if len(body) > 2 {
		out = append(out, ',')
	}
	return Meta{ref, append(out, body[1:]...)}
}

// add appends a meta.
func (p Presences) add(key string, m Meta) { p[key] = append(p[key], m) }

// has reports whether a key has a meta of that ref.
func (p Presences) has(key, ref string) bool {
	return slices.ContainsFunc(p[key], func(m Meta) bool { return m.Ref == ref })
}

// remove takes a meta out and returns it; false: it was not there.
func (p Presences) remove(key, ref string) (Meta, bool) {
	metas := p[key]
	i := slices.IndexFunc(metas, func(m Meta) bool { return m.Ref == ref })
	if i < 0 {
		return Meta{}, false
	}
	m := metas[i]
	if len(metas) == 1 {
		delete(p, key)
	} else {
		p[key] = append(slices.Clone(metas[:i]), metas[i+1:]...)
	}
	return m, true
}

// AppendJSON appends {"key":{"metas":[…]},…}, keys sorted.
func (p Presences) AppendJSON(dst []byte) []byte {
	return p.appendKeys(dst, p.keys())
}

// keys is the keys, sorted.
func (p Presences) keys() []string {
	keys := make([]string, 0, len(p))
	for k := range p {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (p Presences) appendKeys(dst []byte, keys []string) []byte {
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = phx.AppendQuote(dst, k)
		dst = append(dst, `:{"metas":[`...)
		for j, m := range p[k] {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, m.JSON...)
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, '}')
}

// Parts returns the JSON of the presences in pieces of at most about limit bytes each, whole keys in each, at least one piece.
func (p Presences) Parts(limit int) (parts [][]byte) {
	keys := p.keys()
	for from := 0; from < len(keys) || parts == nil; {
		to, size := from, 0
		for to < len(keys) && (to == from || size < limit) {
			size += len(keys[to]) + 16
			for _, m := range p[keys[to]] {
				size += len(m.JSON) + 1
			}
			to++
		}
		if to > from+1 && size > limit {
			to-- // the last key was one too many
		}
		parts = append(parts, p.appendKeys(nil, keys[from:to]))
		from = to
	}
	return parts
}

// ParsePresences reads what AppendJSON wrote.
func ParsePresences(data []byte) (Presences, error) {
	var raw map[string]struct {
		Metas []json.RawMessage `json:"metas"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("presences: %w", err)
	}
	p := make(Presences, len(raw))
	for key, v := range raw {
		for _, m := range v.Metas {
			var head struct {
				Ref string `json:"phx_ref"`
			}
			if err := json.Unmarshal(m, &head); err != nil || head.Ref == "" {
				return nil, fmt.Errorf("presences: a meta of %q has no phx_ref", key)
			}
			p.add(key, Meta{head.Ref, m})
		}
	}
	return p, nil
}

// hashRef is what one meta adds to the hash of its topic: FNV-1a of 64 bits of its ref, to be combined by exclusive or. Refs are never used twice, so equal hashes mean equal
// presences.
func hashRef(ref string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(ref))
	return h.Sum64()
}
