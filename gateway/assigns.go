package gateway

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/phxgate/phxgate/gateway/phx"
)

// MaxAssigns is how many bytes the assigns of one channel may have, as the JSON of the header Phx-Assigns.
const MaxAssigns = 16 << 10

// ErrAssignsTooLarge says that assigns would outgrow MaxAssigns. The channel ends with phx_error.
var ErrAssignsTooLarge = errors.New("assigns are larger than 16 KiB")

// MergeAssigns returns base with the members of over laid over it, one level deep: a key of over replaces base's whole
// value. The result is what the header Phx-Assigns carries, a JSON object in printable ASCII with each key once (the last
// holds); nil stands for no assigns at all.
//
// base is the result of an earlier merge, or nil, and is trusted: it is returned as it is if over is empty. over is
// checked, and an error other than ErrAssignsTooLarge says that it is no JSON object (nil is taken as {}).
func MergeAssigns(base, over json.RawMessage) (json.RawMessage, error) {
	if len(over) > 0 {
		if err := phx.CheckPayload(over); err != nil {
			return nil, fmt.Errorf("assigns: %w", err)
		}
	}
	if !hasMembers(over) {
		if !hasMembers(base) {
			return nil, nil
		}
		return base, nil
	}
	var merged assignsMerge
	merged.add(base)
	merged.add(over)
	dst := merged.append(make([]byte, 0, len(base)+len(over)))
	if len(dst) > MaxAssigns {
		return nil, ErrAssignsTooLarge
	}
	return dst, nil
}

// assignsMerge collects members; a later one takes the place of an earlier one of the same key.
type assignsMerge struct {
	keys   []string
	values [][]byte
	index  map[string]int // of each key in keys and values
}

func (m *assignsMerge) add(obj []byte) {
	if len(obj) == 0 {
		return
	}
	if m.index == nil {
		m.index = make(map[string]int)
	}
	phx.EachMember(obj, func(key, raw []byte) bool {
		if i, held := m.index[string(key)]; held {
			m.values[i] = raw
			return true
		}
		name := string(key)
		m.index[name] = len(m.keys)
		m.keys = append(m.keys, name)
		m.values = append(m.values, raw)
		return true
	})
}

func (m *assignsMerge) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, key := range m.keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = phx.AppendQuoteASCII(dst, key)
		dst = append(dst, ':')
		dst = phx.AppendASCII(dst, m.values[i])
	}
	return append(dst, '}')
}

// hasMembers reports whether obj, a JSON object or nothing, has any.
func hasMembers(obj []byte) (found bool) {
	if len(obj) == 0 {
		return false
	}
	phx.EachMember(obj, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found
}
