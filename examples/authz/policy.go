package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// anonymousRole is the role of a socket without a token.
const anonymousRole = "anonymous"

// userIDPlaceholder stands in a rule's topic for the id of the user who asks.
const userIDPlaceholder = "{user_id}"

// Policy is the policy file. It is not changed once it is loaded, so that any number of requests may read it.
type Policy struct {
	Anonymous bool        `yaml:"anonymous"`
	Users     []User      `yaml:"users"`
	Topics    []TopicRule `yaml:"topics"`

	byToken map[[sha256.Size]byte]*User // by the token's hash: looking up tells nothing about how near a guess was
}

// User is who holds a token.
type User struct {
	Token string `yaml:"token"`
	ID    string `yaml:"id"`
	Name  string `yaml:"name"`
	Role  string `yaml:"role"`
}

// TopicRule says what some roles may do on the topics of one pattern.
type TopicRule struct {
	Topic    string         `yaml:"topic"` // exact, or a prefix that ends in *
	Roles    []string       `yaml:"roles"`
	Events   *[]string      `yaml:"events"` // nil: all that the gateway's channel rules take
	Assigns  map[string]any `yaml:"assigns"`
	Presence bool           `yaml:"presence"` // users are listed; the anonymous see the list
}

// LoadPolicy reads a policy file. An error names the file and what is wrong in it, never a token.
func LoadPolicy(path string) (*Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	policy, err := ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return policy, nil
}

// ParsePolicy reads a policy; unknown keys are mistakes.
func ParsePolicy(text []byte) (*Policy, error) {
	policy := &Policy{byToken: make(map[[sha256.Size]byte]*User)}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(policy); err != nil && !errors.Is(err, io.EOF) {
		return nil, redact(err)
	}
	for i := range policy.Users {
		if err := policy.addUser(&policy.Users[i]); err != nil {
			return nil, fmt.Errorf("users[%d]: %w", i, err)
		}
	}
	for i, rule := range policy.Topics {
		if err := rule.validate(); err != nil {
			return nil, fmt.Errorf("topics[%d]: %w", i, err)
		}
	}
	return policy, nil
}

// quotedValue is how package yaml quotes what it could not take.
var quotedValue = regexp.MustCompile("`[^`]*`")

// redact takes values out of a YAML error: one of them may be a token in the wrong place.
func redact(err error) error {
	return errors.New(quotedValue.ReplaceAllString(err.Error(), "`...`"))
}

func (p *Policy) addUser(user *User) error {
	switch {
	case user.Token == "":
		return errors.New("token is missing")
	case user.ID == "" || len(user.ID) > 200: // leaves room for the socket id's "user_socket:"
		return errors.New("id must have 1 to 200 bytes")
	case user.Role == "":
		return errors.New("role is missing")
	case user.Role == anonymousRole:
		return fmt.Errorf("role %q is for sockets without a token", anonymousRole)
	}
	hash := sha256.Sum256([]byte(user.Token))
	if p.byToken[hash] != nil {
		return errors.New("token is another user's, too")
	}
	p.byToken[hash] = user
	return nil
}

func (r TopicRule) validate() error {
	switch {
	case r.Topic == "":
		return errors.New("topic is missing")
	case strings.Contains(strings.TrimSuffix(r.Topic, "*"), "*"):
		return fmt.Errorf("topic %q: a * may only be the last character", r.Topic)
	case len(r.Roles) == 0:
		return fmt.Errorf("topic %q: roles is empty, so nobody could join", r.Topic)
	case slices.Contains(r.Roles, ""):
		return fmt.Errorf("topic %q: a role is empty", r.Topic)
	}
	if _, err := json.Marshal(r.Assigns); err != nil { // YAML can say more than JSON
		return fmt.Errorf("topic %q: assigns: %w", r.Topic, err)
	}
	return nil
}

// UserByToken returns the user who holds token, nil if nobody does.
func (p *Policy) UserByToken(token string) *User { return p.byToken[sha256.Sum256([]byte(token))] }

// RuleFor returns the rule that lets role join topic, nil if none does. userID is "" for the anonymous.
func (p *Policy) RuleFor(topic, role, userID string) *TopicRule {
	for i := range p.Topics {
		rule := &p.Topics[i]
		if rule.matches(topic, userID) && slices.Contains(rule.Roles, role) {
			return rule
		}
	}
	return nil
}

// matches compares topic with the pattern. The * is taken off before the id is put in: an id that ends in * must not
// match what belongs to others, nor one with a ':' in it.
func (r *TopicRule) matches(topic, userID string) bool {
	pattern, isPrefix := strings.CutSuffix(r.Topic, "*")
	if strings.Contains(pattern, userIDPlaceholder) {
		if userID == "" || strings.Contains(userID, ":") {
			return false
		}
		pattern = strings.ReplaceAll(pattern, userIDPlaceholder, userID)
	}
	if isPrefix {
		return strings.HasPrefix(topic, pattern)
	}
	return topic == pattern
}
