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
	var merged membersMerge
	merged.add(base)
	merged.add(over)
	dst := merged.append(make([]byte, 0, len(base)+len(over)))
	if len(dst) > MaxAssigns {
		return nil, ErrAssignsTooLarge
	}
	return dst, nil
}

// regrantAssigns returns the assigns of a channel that is authorized anew: the socket's, over them what backends' replies have assigned, and over both what is granted now. kept is what of assigned
// counts from now on: all but the keys that are granted. Errors are those of MergeAssigns.
func regrantAssigns(socket, assigned, granted json.RawMessage) (assigns, kept json.RawMessage, err error) {
	var rest membersMerge
	rest.add(assigned)
	rest.remove(granted)
	kept = rest.append(nil)
	if assigns, err = MergeAssigns(socket, kept); err == nil {
		assigns, err = MergeAssigns(assigns, granted)
	}
	if !hasMembers(kept) {
		kept = nil
	}
	return assigns, kept, err
}

// membersMerge collects members; a later one takes the place of an earlier one of the same key.
type membersMerge struct {
	keys   []string
	values [][]byte
	index  map[string]int // of each key in keys and values
}

func (m *membersMerge) add(obj []byte) {
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

// remove takes out the keys that obj has.
func (m *membersMerge) remove(obj []byte) {
	if len(obj) == 0 {
		return
	}
	phx.EachMember(obj, func(key, _ []byte) bool {
		if i, held := m.index[string(key)]; held {
			m.values[i] = nil
		}
		return true
	})
}

func (m *membersMerge) append(dst []byte) []byte {
	next := byte('{')
	for i, key := range m.keys {
		if m.values[i] == nil {
			continue
		}
		dst = append(dst, next)
		next = ','
		dst = phx.AppendQuoteASCII(dst, key)
		dst = append(dst, ':')
		dst = phx.AppendASCII(dst, m.values[i])
	}
	if next == '{' {
		dst = append(dst, '{')
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
