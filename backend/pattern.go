package backend

import (
	"strings"

	"github.com/phxgate/phxgate/backend/internal/wire"
)

// pattern is Phoenix's: an exact string, or a prefix that ends in "*".
type pattern struct {
	text   string // without the "*"
	prefix bool
}

// parsePattern refuses the empty string and a "*" that is not at the end, as Phoenix's channel macro does.
func parsePattern(s string) (p pattern, ok bool) {
	p.text, p.prefix = strings.CutSuffix(s, "*")
	return p, s != "" && !strings.Contains(p.text, "*")
}

func (p pattern) matches(s string) bool {
	if p.prefix {
		return strings.HasPrefix(s, p.text)
	}
	return s == p.text
}

// topicTokens is the narrowest end of a subject that takes every topic of the pattern. A prefix that ends within a part ("room:a*") takes its neighbours
// ("room:b") too, which matches sorts out.
func (p pattern) topicTokens() string {
	if !p.prefix {
		return wire.Topic(p.text)
	}
	whole := strings.LastIndexByte(p.text, ':') // what is before it are whole parts
	if whole < 0 {
		return ">"
	}
	return wire.Topic(p.text[:whole]) + ".>"
}

// eventToken is the same for event names, which are one token each.
func (p pattern) eventToken() string {
	if p.prefix {
		return "*"
	}
	return wire.Token(p.text)
}
