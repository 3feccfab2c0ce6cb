package phxtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bindings are the strings that {"$bind": name} patterns stand for, by name.
type Bindings map[string]string

// Match reports whether the JSON text matches the pattern, also JSON text,
// and returns the bindings with those that the match added; the map given is
// not changed. A pattern is plain JSON that matches itself (numbers by value,
// objects with the same keys in any order), or an object with a single key:
//
//	{"$type": "string"}  any value whose typeof in JavaScript is this word
//	{"$bind": "x"}       any string at first, later that same string
//	{"$json": P}         a string that parses as JSON matching P
//	{"$set": [P…]}       an array with exactly these elements in any order
//
// An error means that one of the two texts is not JSON.
func Match(pattern, text []byte, b Bindings) (Bindings, bool, error) {
	p, err := decodeJSON(pattern)
	if err != nil {
		return b, false, fmt.Errorf("pattern: %w", err)
	}
	v, err := decodeJSON(text)
	if err != nil {
		return b, false, fmt.Errorf("value: %w", err)
	}
	after, ok := matchValue(p, v, b)
	return after, ok, nil
}

// matchValue is Match on decoded values.
func matchValue(p, v any, b Bindings) (Bindings, bool) {
	after := b
	ok := match(p, v, b, func(found Bindings) bool { after = found; return true })
	return after, ok
}

// match calls then with each set of bindings under which v matches p until
// then returns true, and reports whether it did. That then may refuse is what
// lets a $set try its next order when a later part of the pattern does not
// fit the bindings of the first.
func match(p, v any, b Bindings, then func(Bindings) bool) bool {
	switch p := p.(type) {
	case map[string]any:
		if name, arg, ok := special(p); ok {
			return matchSpecial(name, arg, v, b, then)
		}
		o, ok := v.(map[string]any)
		if !ok || len(o) != len(p) {
			return false
		}
		keys := make([]string, 0, len(p))
		for key := range p {
			if _, ok := o[key]; !ok {
				return false
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return matchEach(len(keys), func(i int) (any, any) { return p[keys[i]], o[keys[i]] }, b, then)
	case []any:
		a, ok := v.([]any)
		if !ok || len(a) != len(p) {
			return false
		}
		return matchEach(len(p), func(i int) (any, any) { return p[i], a[i] }, b, then)
	case json.Number:
		n, ok := v.(json.Number)
		return ok && sameNumber(p, n) && then(b)
	default: // nil, bool, string
		return p == v && then(b)
	}
}

// matchEach matches n pairs of pattern and value, one after the other.
func matchEach(n int, pair func(i int) (p, v any), b Bindings, then func(Bindings) bool) bool {
	var from func(i int, b Bindings) bool
	from = func(i int, b Bindings) bool {
		if i == n {
			return then(b)
		}
		p, v := pair(i)
		return match(p, v, b, func(b Bindings) bool { return from(i+1, b) })
	}
	return from(0, b)
}

// special returns name and argument of an object that is a pattern.
func special(p map[string]any) (name string, arg any, ok bool) {
	if len(p) != 1 {
		return "", nil, false
	}
	for name, arg = range p {
	}
	switch name {
	case "$type", "$bind", "$json", "$set", "$repeat":
		return name, arg, true
	}
	return "", nil, false
}

func matchSpecial(name string, arg, v any, b Bindings, then func(Bindings) bool) bool {
	switch name {
	case "$type":
		return arg == typeOf(v) && then(b)
	case "$bind":
		key, _ := arg.(string)
		s, ok := v.(string)
		if !ok {
			return false
		}
		if bound, ok := b[key]; ok {
			return bound == s && then(b)
		}
		return then(b.with(key, s))
	case "$json":
		s, ok := v.(string)
		if !ok {
			return false
		}
		inner, err := decodeJSON([]byte(s))
		return err == nil && match(arg, inner, b, then)
	case "$set":
		patterns, _ := arg.([]any)
		a, ok := v.([]any)
		return ok && len(a) == len(patterns) && matchSet(patterns, a, b, then)
	}
	return false // $repeat stands for what is sent, never for what is received
}

// matchSet gives each value a pattern of its own; patterns may be left over.
func matchSet(patterns, values []any, b Bindings, then func(Bindings) bool) bool {
	used := make([]bool, len(patterns))
	var from func(i int, b Bindings) bool
	from = func(i int, b Bindings) bool {
		if i == len(values) {
			return then(b)
		}
		for j, p := range patterns {
			if used[j] {
				continue
			}
			used[j] = true
			if match(p, values[i], b, func(b Bindings) bool { return from(i+1, b) }) {
				return true
			}
			used[j] = false
		}
		return false
	}
	return from(0, b)
}

// with returns a copy of b in which name stands for value.
func (b Bindings) with(name, value string) Bindings {
	c := make(Bindings, len(b)+1)
	for k, v := range b {
		c[k] = v
	}
	c[name] = value
	return c
}

// typeOf is JavaScript's typeof of a decoded JSON value.
func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case json.Number:
		return "number"
	case bool:
		return "boolean"
	default: // null and arrays too
		return "object"
	}
}

// sameNumber compares by value: 1 is 1.0, but two integers that only round to
// the same float64 differ.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	integer := func(n json.Number) bool { return !strings.ContainsAny(string(n), ".eE") }
	if integer(a) && integer(b) {
		return strings.TrimPrefix(string(a), "-") == "0" && strings.TrimPrefix(string(b), "-") == "0"
	}
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	return errX == nil && errY == nil && !math.IsInf(x, 0) && x == y
}

// decodeJSON decodes exactly one JSON value, numbers kept as they are written.
func decodeJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: more than one value")
	}
	return v, nil
}
