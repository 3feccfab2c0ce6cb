package rules

import (
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads the rules file; the error is the system's, or Parse's.
func Load(file string) (*Set, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return Parse(file, data)
}

// Parse returns the rules that data, the YAML of a file of that name, holds. The error joins every mistake, each in
// the form "file:line: what is wrong", in the order of the lines. A file longer than 1 MiB, one of several documents,
// and one with aliases are mistakes too.
func Parse(file string, data []byte) (*Set, error) {
	p := &parser{file: file}
	set := &Set{}
	if root := p.root(data); root != nil {
		set.Rules = p.rules(root)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return set, nil
}

var (
	fileShape = shape{name: "the file", known: []string{"channels"}, required: []string{"channels"}}
	ruleShape = shape{
		name:     "a rule",
		known:    []string{"topic", "join", "events", "on_gap", "limits", "presence", "deliver", "slow"},
		required: []string{"topic"},
		later:    []string{"history"},
	}
	presenceShape = shape{name: "presence", known: []string{"key", "broadcast"}}
	slowShape     = shape{name: "slow", known: []string{"conflate"}, required: []string{"conflate"}}
	limitsShape   = shape{name: "limits", known: []string{"events_per_second", "burst", "payload_bytes"}}
)

func (p *parser) rules(root *yaml.Node) (rules []*Rule) {
	p.mapping(root, fileShape, func(key, value *yaml.Node) {
		elements := p.list(value, key.Value)
		if value.Kind == yaml.SequenceNode && len(elements) == 0 {
			p.wrong(value.Line, "%q is empty: no topic could be joined", key.Value)
		}
		for _, n := range elements {
			rules = append(rules, p.rule(n))
		}
	})
	return rules
}

func (p *parser) rule(n *yaml.Node) *Rule {
	r := &Rule{Line: n.Line}
	var presenceKey *yaml.Node
	p.mapping(n, ruleShape, func(key, value *yaml.Node) {
		switch key.Value {
		case "topic":
			r.Topic = p.pattern(value, key.Value, checkTopic)
		case "join":
			r.Join, r.If = p.join(value)
		case "on_gap":
			if i, ok := p.word(value, key.Value, gapWords); ok {
				r.OnGap = Gap(i)
			}
		case "slow":
			r.Slow = p.slow(value)
		case "deliver":
			r.Deliver = p.deliver(value)
		case "limits":
			r.Limits = p.limits(value)
		case "presence":
			r.Presence, presenceKey = p.presence(value)
		case "events":
			for _, n := range p.list(value, key.Value) {
				r.Events = append(r.Events, p.event(n))
			}
		}
	})
	if presenceKey != nil && r.Join != JoinAllow && r.Join != JoinIf {
		p.wrong(presenceKey.Line, `presence: "key" goes with join: allow or an expression only; the authz service names the key in its join reply`)
	}
	for _, e := range r.Events {
		if e.Do == Reauthorize && r.Join != JoinAuthz && r.Join != JoinIf {
			p.wrong(e.Line, "do: %v goes with join: authz or an expression only; with join: %s nobody decides", e.Do, joinWords[r.Join])
		}
	}
	return r
}

// join returns who decides: one of the words, or an expression.
func (p *parser) join(n *yaml.Node) (Join, *Condition) {
	if i := slices.Index(joinWords, n.Value); i >= 0 && typeName(n) == "a string" {
		return Join(i), nil
	}
	text, ok := p.text(n, "join")
	if !ok {
		return JoinDeny, nil
	}
	condition, err := compileCondition(text)
	if err != nil {
		p.wrong(n.Line, `"join" must be one of %s, or a CEL expression, not %.80q: %v`, strings.Join(joinWords, ", "), text, err)
		return JoinDeny, nil
	}
	return JoinIf, condition
}

// deliver returns the expression that n is.
func (p *parser) deliver(n *yaml.Node) *Deliver {
	text, ok := p.text(n, "deliver")
	if !ok {
		return nil
	}
	d, err := compileDeliver(text)
	if err != nil {
		p.wrong(n.Line, "deliver: %v", err)
	}
	return d
}

// slow returns the policy that n is: a word, or {conflate: payload.key}.
func (p *parser) slow(n *yaml.Node) (slow Slow) {
	if n.Kind != yaml.MappingNode {
		i, _ := p.word(n, "slow", slowWords)
		return Slow{Policy: SlowPolicy(i)}
	}
	p.mapping(n, slowShape, func(key, value *yaml.Node) {
		slow.Policy = SlowConflate
		by, ok := p.text(value, key.Value)
		if !ok || by == "event" {
			return
		}
		if slow.By, ok = strings.CutPrefix(by, "payload."); !ok || slow.By == "" {
			p.wrong(value.Line, `slow: "conflate" must be event or payload.<key>, not %.80q`, by)
		}
	})
	return slow
}

// presence returns what n says, and where its key stands: nil where there is none.
func (p *parser) presence(n *yaml.Node) (presence *Presence, keyAt *yaml.Node) {
	presence = &Presence{}
	p.mapping(n, presenceShape, func(key, value *yaml.Node) {
		switch key.Value {
		case "broadcast":
			_, presence.Count = p.word(value, key.Value, []string{"count"})
		case "key":
			keyAt = key
			text, ok := p.text(value, key.Value)
			if !ok {
				return
			}
			source, err := parseSource(text)
			if err != nil {
				p.wrong(value.Line, "presence: key: %v", err)
				return
			}
			presence.Key = &source
		}
	})
	return presence, keyAt
}

// pattern returns a topic or event pattern that passes check.
func (p *parser) pattern(n *yaml.Node, key string, check func(string) error) string {
	pattern, ok := p.text(n, key)
	if !ok {
		return ""
	}
	if err := check(pattern); err != nil {
		p.wrong(n.Line, "%s %.80q %v", key, pattern, err)
		return ""
	}
	return pattern
}

func (p *parser) limits(n *yaml.Node) (l Limits) {
	var burst *yaml.Node
	rateOK := true
	p.mapping(n, limitsShape, func(key, value *yaml.Node) {
		switch key.Value {
		case "events_per_second":
			l.EventsPerSecond, rateOK = p.number(value, key.Value, 0, false)
		case "payload_bytes":
			f, _ := p.number(value, key.Value, 0, true)
			l.PayloadBytes = int(f)
		case "burst":
			burst = value
			f, _ := p.number(value, key.Value, 1, true)
			l.Burst = int(f)
		}
	})
	switch {
	case burst == nil:
		l.Burst = int(math.Ceil(l.EventsPerSecond))
	case rateOK && l.EventsPerSecond == 0:
		p.wrong(burst.Line, `"burst" needs "events_per_second" beside it`)
	}
	return l
}
