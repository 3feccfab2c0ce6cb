package rules

import (
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxNumber is the largest number that a limit may be.
const maxNumber = 1_000_000_000

// shape is which keys a mapping has. Where known is nil every key is.
type shape struct {
	name     string // in the words of a mistake: "a rule"
	known    []string
	required []string
	later    []string // of the contract, but not supported yet
}

// mapping calls f for each member of n that is of shape s, and notes the others, duplicates and what is missing.
// It reports whether n is a mapping at all.
func (p *parser) mapping(n *yaml.Node, s shape, f func(key, value *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		p.wrong(n.Line, "%s must be a mapping, not %s", s.name, typeName(n))
		return false
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if typeName(key) != "a string" {
			p.wrong(key.Line, "a key in %s must be a string, not %s", s.name, typeName(key))
			continue
		}
		if line, ok := lines[key.Value]; ok {
			p.wrong(key.Line, "duplicated key %q in %s (first on line %d)", key.Value, s.name, line)
			continue
		}
		lines[key.Value] = key.Line
		switch {
		case slices.Contains(s.later, key.Value):
			p.wrong(key.Line, "%q is not supported yet", key.Value)
		case s.known != nil && !slices.Contains(s.known, key.Value):
			p.wrong(key.Line, "unknown key %q in %s (known: %s)", key.Value, s.name, strings.Join(s.known, ", "))
		default:
			f(key, value)
		}
	}
	for _, key := range s.required {
		if lines[key] == 0 {
			p.wrong(n.Line, "missing key %q in %s", key, s.name)
		}
	}
	return true
}

// list returns the elements of n, none where it is no list.
func (p *parser) list(n *yaml.Node, key string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n.Line, "%q must be a list, not %s", key, typeName(n))
		return nil
	}
	return n.Content
}

// text returns the string n.
func (p *parser) text(n *yaml.Node, key string) (s string, ok bool) {
	switch name := typeName(n); {
	case name == "a string":
		return n.Value, true
	case n.Kind == yaml.ScalarNode && n.Value != "":
		p.wrong(n.Line, "%q must be a string, not %s (quote it)", key, name)
	default:
		p.wrong(n.Line, "%q must be a string, not %s", key, name)
	}
	return "", false
}

// word returns the index of n in words.
func (p *parser) word(n *yaml.Node, key string, words []string) (i int, ok bool) {
	if i = slices.Index(words, n.Value); typeName(n) == "a string" && i >= 0 {
		return i, true
	}
	p.wrong(n.Line, "%q must be one of %s, not %s", key, strings.Join(words, ", "), quoted(n))
	return 0, false
}

// boolean returns n, false where it is none.
func (p *parser) boolean(n *yaml.Node, key string) (b bool) {
	switch name := typeName(n); {
	case name != "a boolean":
		p.wrong(n.Line, "%q must be true or false, not %s", key, name)
	case n.Decode(&b) != nil:
		p.wrong(n.Line, "%q must be true or false, not %s", key, quoted(n))
	}
	return b
}

// duration returns n, which must be more than 0 and have a unit.
func (p *parser) duration(n *yaml.Node, key string) time.Duration {
	d, err := time.ParseDuration(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil:
		p.wrong(n.Line, "%q must be a duration with a unit, such as 500ms or 5s, not %s", key, quoted(n))
	case d <= 0:
		p.wrong(n.Line, "%q must be more than 0, not %s", key, quoted(n))
	}
	return d
}

// number returns n, which must be at least least, and whole where asked for.
func (p *parser) number(n *yaml.Node, key string, least float64, whole bool) (f float64, ok bool) {
	switch {
	case typeName(n) != "a number" || n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0):
		p.wrong(n.Line, "%q must be a number, not %s", key, quoted(n))
	case f < least:
		p.wrong(n.Line, "%q must be at least %v, not %s", key, least, n.Value)
	case f > maxNumber:
		p.wrong(n.Line, "%q must be at most %d, not %s", key, maxNumber, n.Value)
	case whole && f != math.Trunc(f):
		p.wrong(n.Line, "%q must be a whole number, not %s", key, n.Value)
	default:
		return f, true
	}
	return 0, false
}

// typeName returns what n is, in the words of a mistake.
func typeName(n *yaml.Node) string {
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case tag == "!!str":
		return "a string"
	case tag == "!!int", tag == "!!float":
		return "a number"
	case tag == "!!bool":
		return "a boolean"
	case tag == "!!null":
		return "nothing"
	default:
		return "a " + strings.TrimLeft(tag, "!")
	}
}

// quoted returns a scalar's text, and only the kind of anything else.
func quoted(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || typeName(n) == "nothing" {
		return typeName(n)
	}
	return `"` + n.Value + `"`
}
