package rules

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var eventShape = shape{
	name:     "an event rule",
	known:    []string{"event", "do", "timeout", "concurrent", "reply", "set", "fields"},
	required: []string{"event", "do"},
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
		case "fields":
			e.Fields = p.fields(value)
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
	if e.Do == PresenceUpdate && !slices.ContainsFunc(given, func(n *yaml.Node) bool { return n.Value == "fields" }) {
		p.wrong(do.Line, `do: %v needs "fields", the keys that it may set`, e.Do)
	}
	switch {
	case e.Do == Call && e.Timeout == 0:
		e.Timeout = defaultTimeout
	case e.Do == Reauthorize && !slices.ContainsFunc(given, func(n *yaml.Node) bool { return n.Value == "reply" }):
		e.Reply = true
	}
	return e
}

// do returns the kind that n names.
func (p *parser) do(n *yaml.Node) (d Do, ok bool) {
	i, ok := p.word(n, "do", doWords)
	if !ok {
		return Reject, false
	}
	return Do(i), true
}

// fields returns the keys of a meta that an event may set.
func (p *parser) fields(n *yaml.Node) (fields []string) {
	elements := p.list(n, "fields")
	if n.Kind == yaml.SequenceNode && len(elements) == 0 {
		p.wrong(n.Line, `"fields" is empty: the event could set nothing`)
	}
	for _, element := range elements {
		field, ok := p.text(element, "fields")
		switch {
		case !ok:
		case field == "phx_ref" || field == "phx_ref_prev":
			p.wrong(element.Line, "fields: %q is the servers' alone", field)
		case slices.Contains(fields, field):
			p.wrong(element.Line, "fields: %q stands there twice", field)
		default:
			fields = append(fields, field)
		}
	}
	return fields
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
