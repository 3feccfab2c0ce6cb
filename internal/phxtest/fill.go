package phxtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// maxRepeat bounds what one {"$repeat": [s, n]} may grow to, in bytes.
const maxRepeat = 64 << 20

// fill replaces what only stands for a value in a request: {"$bind": x} by
// the string bound to x, {"$repeat": [s, n]} by s repeated n times. A name
// that nothing has bound yet is an error.
func fill(v any, b Bindings) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		if name, arg, ok := special(v); ok {
			switch name {
			case "$bind":
				key, _ := arg.(string)
				if s, ok := b[key]; ok {
					return s, nil
				}
				return nil, fmt.Errorf("$bind %v: not bound yet", arg)
			case "$repeat":
				return repeat(arg)
			}
			return nil, fmt.Errorf("%s cannot be sent", name)
		}
		o := make(map[string]any, len(v))
		for key, element := range v {
			filled, err := fill(element, b)
			if err != nil {
				return nil, err
			}
			o[key] = filled
		}
		return o, nil
	case []any:
		a := make([]any, len(v))
		for i, element := range v {
			filled, err := fill(element, b)
			if err != nil {
				return nil, err
			}
			a[i] = filled
		}
		return a, nil
	}
	return v, nil
}

func repeat(arg any) (string, error) {
	pair, _ := arg.([]any)
	if len(pair) == 2 {
		s, isString := pair[0].(string)
		n, isNumber := pair[1].(json.Number)
		if times, err := n.Int64(); isString && isNumber && err == nil && times >= 0 && times*int64(len(s)) <= maxRepeat {
			return strings.Repeat(s, int(times)), nil
		}
	}
	return "", fmt.Errorf("$repeat %v: want [string, count]", arg)
}

// fillText is fill from JSON text to JSON text.
func fillText(text []byte, b Bindings) ([]byte, error) {
	v, err := decodeJSON(text)
	if err != nil {
		return nil, err
	}
	if v, err = fill(v, b); err != nil {
		return nil, err
	}
	return encodeJSON(v)
}

// encodeJSON encodes v on one line and without the escapes that
// encoding/json adds for HTML: clients do not write them.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
