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
