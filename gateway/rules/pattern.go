package rules

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of docs/contract.md, "Topics and subjects": what is beyond them is refused before a rule is looked at, so a
// pattern beyond them could never match.
const (
	maxPattern    = 255 // bytes of a topic or an event name
	maxTopicParts = 16
)

// matches reports whether s is what pattern names: exactly, or as a prefix where pattern ends in *.
func matches(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, prefix)
	}
	return s == pattern
}

// checkTopic returns what is wrong with a topic pattern.
func checkTopic(pattern string) error {
	if pattern == "" {
		return errors.New("is empty")
	}
	if n := strings.Count(strings.TrimSuffix(pattern, "*"), ":") + 1; n > maxTopicParts {
		return fmt.Errorf("has %d parts, more than %d", n, maxTopicParts)
	}
	return checkEvent(pattern)
}

// checkEvent returns what is wrong with an event pattern. An empty event name is one.
func checkEvent(pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("has %d bytes, more than %d", len(pattern), maxPattern)
	}
	if i := strings.IndexByte(pattern, '*'); i >= 0 && i < len(pattern)-1 {
		return errors.New("has a * before its end")
	}
	return nil
}

// earlier remembers the patterns of a list and finds the exact ones that a pattern before them takes everything from.
// It looks up prefixes rather than compare all pairs, so that a long file is read in no time.
type earlier struct {
	exact    map[string]int // pattern to line
	prefixes map[string]int // pattern without its * to line
}

func newEarlier() earlier {
	return earlier{exact: make(map[string]int), prefixes: make(map[string]int)}
}

// add remembers pattern. If it is exact and can never match, because another was added before, add returns that one
// and its line.
func (e earlier) add(pattern string, line int) (by string, byLine int, covered bool) {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		if _, ok := e.prefixes[prefix]; !ok {
			e.prefixes[prefix] = line
		}
		return "", 0, false
	}
	if line, ok := e.exact[pattern]; ok {
		return pattern, line, true
	}
	e.exact[pattern] = line
	for i := range len(pattern) + 1 {
		if line, ok := e.prefixes[pattern[:i]]; ok {
			return pattern[:i] + "*", line, true
		}
	}
	return "", 0, false
}
