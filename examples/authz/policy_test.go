package main

import (
	"strings"
	"testing"
)

func TestParsePolicyRefuses(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"anonymos: true", "anonymos"},
		{"anonymous: maybe", "line 1"},
		{"users: [{id: a, role: b}]", "users[0]: token is missing"},
		{"users: [{token: t, role: b}]", "users[0]: id must have"},
		{"users: [{token: t, id: a}]", "users[0]: role is missing"},
		{"users: [{token: t, id: a, role: anonymous}]", "without a token"},
		{"users: [{token: t, id: a, role: b}, {token: t, id: c, role: b}]", "users[1]: token is another user's"},
		{"topics: [{roles: [a]}]", "topics[0]: topic is missing"},
		{"topics: [{topic: 'a*b', roles: [a]}]", "may only be the last"},
		{"topics: [{topic: 'a**', roles: [a]}]", "may only be the last"},
		{"topics: [{topic: a}]", "roles is empty"},
		{"topics: [{topic: a, roles: ['']}]", "a role is empty"},
		{"topics: [{topic: a, roles: [b], assigns: {x: {1: 2}}}]", "assigns"},
		{"topics: [{topic: a, roles: [b], assigns: {x: .nan}}]", "assigns"},
	} {
		_, err := ParsePolicy([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q in it", tc.text, err, tc.want)
		}
	}
}

func TestParsePolicyErrorsHoldNoToken(t *testing.T) {
	for _, text := range []string{"users: [s3cret]", "users: s3cret", "users: {s3: [s3cret]}", "users: [{token: [s3cret]}]"} {
		_, err := ParsePolicy([]byte(text))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestRuleFor(t *testing.T) {
	policy, err := ParsePolicy([]byte(`
topics:
  - {topic: "a:b", roles: [x]}
  - {topic: "a:*", roles: [y]}
  - {topic: "u:{user_id}", roles: [x]}
  - {topic: "u:{user_id}:{user_id}:*", roles: [x]}
  - {topic: "*", roles: [root]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ topic, role, userID, want string }{
		{"a:b", "x", "1", "a:b"},
		{"a:b", "y", "1", "a:*"},
		{"a:", "y", "1", "a:*"},
		{"a", "y", "1", ""},
		{"a:c", "x", "1", ""},
		{"u:1", "x", "1", "u:{user_id}"},
		{"u:12", "x", "1", ""},
		{"u:", "x", "", ""},
		{"u:*", "x", "*", "u:{user_id}"},
		{"u:{user_id}", "x", "1", ""},
		{"u:1:1:z", "x", "1", "u:{user_id}:{user_id}:*"},
		{"u:1:2:z", "x", "1", ""},
		{"anything", "root", "", "*"},
	} {
		got := ""
		if rule := policy.RuleFor(tc.topic, tc.role, tc.userID); rule != nil {
			got = rule.Topic
		}
		if got != tc.want {
			t.Errorf("%s as %s %q: got rule %q, want %q", tc.topic, tc.role, tc.userID, got, tc.want)
		}
	}
}
