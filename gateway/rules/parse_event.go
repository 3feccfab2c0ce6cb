package rules

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var eventShape = shape{
	name:     "an event rule",
	known:    []string{"event", "do", "timeout", "concurrent", "reply", "set"},
	required: []string{"event", "do"},
	later:    []string{"fields"},
}

func (p *parser) event(n *yaml.Node) *EventRule {
	e := &EventRule{Line: n.Line}
	var do *yaml.Node      // nil where missing or wrong
	var given []*yaml.Node // keys that belong to some kinds only
	p.mapping(n, eventShape, func(key, value *yaml.Node) {
		if options[key.Value] != nil {
			given = append(given, key)
		}
		switch key.Value {
		case "event":
			e.Event = p.pattern(value, key.Value, checkEvent)
		case "do":
			if i, ok := p.do(value); ok {
				e.Do = i
				do = value
			}
		case "timeout":
			e.Timeout = p.duration(value, key.Value)
		case "concurrent":
			e.Concurrent = p.boolean(value, key.Value)
		case "reply":
			e.Reply = p.boolean(value, key.Value)
		case "set":
			e.Set = p.set(value)
		}
	})
	if do == nil {
		return e
	}
	for _, key := range given {
		if dos := options[key.Value]; !slices.Contains(dos, e.Do) {
			p.wrong(key.Line, "%q does not belong to do: %v (only to %s)", key.Value, e.Do, words(dos))
		}
	}
	if e.Do == Call && e.Timeout == 0 {
		e.Timeout = defaultTimeout
	}
	return e
}

// do returns the kind that n names.
func (p *parser) do(n *yaml.Node) (d Do, ok bool) {
	if n.Kind == yaml.ScalarNode && n.Value == "presence_update" {
		p.wrong(n.Line, "%q is not supported yet", n.Value)
		return Reject, false
	}
	i, ok := p.word(n, "do", doWords)
	if !ok {
		return Reject, false
	}
	return Do(i), true
}

func (p *parser) set(n *yaml.Node) (set []Assignment) {
	p.mapping(n, shape{name: "set"}, func(key, value *yaml.Node) {
		text, ok := p.text(value, key.Value)
		if !ok {
			return
		}
		source, err := parseSource(text)
		if err != nil {
			p.wrong(value.Line, "set %s: %v", key.Value, err)
			return
		}
		set = append(set, Assignment{Key: key.Value, Source: source})
	})
	return set
}

// words returns kinds in the words of a rules file.
func words(dos []Do) string {
	var list []string
	for _, d := range dos {
		list = append(list, d.String())
	}
	return strings.Join(list, ", ")
}
