package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/phxgate/phxgate/gateway/phx"
)

// fromJSON makes of JSON what expressions work on. Whole numbers stay whole: as floating point two ids could become one. Of equal keys the last holds.
func fromJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return numbers(v), nil
}

// objectFromJSON is fromJSON for what must be an object; nil stands for an empty one.
func objectFromJSON(raw []byte) (map[string]any, error) {
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	v, err := fromJSON(raw)
	object, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, errInput
	}
	return object, nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, of := range v {
			v[k] = numbers(of)
		}
	case []any:
		for i, of := range v {
			v[i] = numbers(of)
		}
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			return n
		}
		f, _ := strconv.ParseFloat(string(v), 64) // beyond its range: infinite
		return f
	}
	return v
}

// appendJSON appends the JSON of an expression's value; one that JSON cannot hold is an error.
func appendJSON(dst []byte, v ref.Val, depth int) ([]byte, error) {
	if depth > phx.MaxDepth {
		return nil, errValue
	}
	switch v := v.(type) {
	case types.Null:
		return append(dst, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(dst, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case types.Double:
		text, err := json.Marshal(float64(v))
		if err != nil {
			return nil, errValue
		}
		return append(dst, text...), nil
	case types.String:
		return phx.AppendQuote(dst, string(v)), nil
	case traits.Mapper:
		return appendObject(dst, v, depth)
	case traits.Lister:
		dst = append(dst, '[')
		for i, first := v.Iterator(), true; i.HasNext() == types.True; first = false {
			if !first {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendJSON(dst, i.Next(), depth+1); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
	return nil, errValue
}

// appendObject writes the keys in order, so that equal values are equal bytes.
func appendObject(dst []byte, m traits.Mapper, depth int) ([]byte, error) {
	keys, err := sortedKeys(m)
	if err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	for n, key := range keys {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(phx.AppendQuote(dst, key), ':')
		if dst, err = appendJSON(dst, m.Get(types.String(key)), depth+1); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func sortedKeys(m traits.Mapper) (keys []string, err error) {
	for i := m.Iterator(); i.HasNext() == types.True; {
		key, ok := i.Next().(types.String)
		if !ok {
			return nil, fmt.Errorf("%w: a key is no string", errValue)
		}
		keys = append(keys, string(key))
	}
	slices.Sort(keys)
	return keys, nil
}
