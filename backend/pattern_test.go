package backend

import "testing"

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, topicTokens, eventToken string
		takes, leaves                    []string
	}{
		{"room:lobby", "room.lobby", "room=3Alobby", []string{"room:lobby"}, []string{"room:lobby2", "room:lobb", "room"}},
		{"room:*", "room.>", "*", []string{"room:", "room:a", "room:a:b"}, []string{"room", "rooms:a"}},
		{"room:vip:*", "room.vip.>", "*", []string{"room:vip:1"}, []string{"room:vip", "room:a"}},
		{"room:a*", "room.>", "*", []string{"room:a", "room:ab", "room:a:b"}, []string{"room:b", "room:"}},
		{"ro*", ">", "*", []string{"ro", "room", "room:a"}, []string{"r", "lobby"}},
		{"*", ">", "*", []string{"a", "a:b"}, nil},
		{"a.b:*", "a=2Eb.>", "*", []string{"a.b:c"}, []string{"a:b:c"}},
		{"new_msg", "new_msg", "new_msg", []string{"new_msg"}, []string{"new_msg2"}},
	} {
		p, ok := parsePattern(c.pattern)
		if !ok {
			t.Fatalf("%q is refused", c.pattern)
		}
		if got := p.topicTokens(); got != c.topicTokens {
			t.Errorf("%q: topics %q, want %q", c.pattern, got, c.topicTokens)
		}
		if got := p.eventToken(); got != c.eventToken {
			t.Errorf("%q: event %q, want %q", c.pattern, got, c.eventToken)
		}
		for _, s := range c.takes {
			if !p.matches(s) {
				t.Errorf("%q does not take %q", c.pattern, s)
			}
		}
		for _, s := range c.leaves {
			if p.matches(s) {
				t.Errorf("%q takes %q", c.pattern, s)
			}
		}
	}
	for _, s := range []string{"", "a*b", "**", "*a"} {
		if _, ok := parsePattern(s); ok {
			t.Errorf("%q is a pattern", s)
		}
	}
}
