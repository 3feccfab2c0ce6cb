package wire

import (
	"strings"
	"testing"
)

// The table of docs/contract.md, and its corners.
func TestTopic(t *testing.T) {
	for topic, want := range map[string]string{
		"room:lobby": "room.lobby", "user:42:inbox": "user.42.inbox", "doc:a.b/c d*": "doc.a=2Eb=2Fc=20d=2A", "room:": "room.=", "lobby": "lobby",
		":": "=.=", "é": "=C3=A9", "a=b": "a=3Db",
	} {
		if got := Topic(topic); got != want {
			t.Errorf("Topic(%q) = %q, want %q", topic, got, want)
		}
		if got, ok := ParseTopic(want); !ok || got != topic {
			t.Errorf("ParseTopic(%q) = %q, %v, want %q", want, got, ok, topic)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	for _, tokens := range []string{"", ".", "a.", ".a", "a..b", "=2e", "=41", "=3A", "=2", "a=", "a b", "a*", "é", "=FF", "=", strings.Repeat("a.", 16) + "a", strings.Repeat("a", 256)} {
		if got, ok := ParseTopic(tokens); ok {
			t.Errorf("ParseTopic(%q) = %q, want it refused", tokens, got)
		}
	}
	for _, token := range []string{"", "=", "=2e", "=41", "a.b", "a:b", "=FF", "=3a", strings.Repeat("a", 256)} {
		if got, ok := ParseToken(token); ok {
			t.Errorf("ParseToken(%q) = %q, want it refused", token, got)
		}
	}
	for _, value := range []string{"=", "a=", "=2e", "=41", "=3A", "a b=3D", "é", "a\tb", "\x7f"} {
		if got, ok := ParseHeader(value); ok {
			t.Errorf("ParseHeader(%q) = %q, want it refused", value, got)
		}
	}
}

func TestHeader(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "new_msg": "new_msg", "room:a.b/c d*": "room:a.b/c d*", "a=b": "a=3Db", " a": "=20a", "a ": "a=20", "room:é.x": "room:=C3=A9=2Ex", "a\r\nb": "a=0D=0Ab",
	} {
		if got := Header(s); got != want {
			t.Errorf("Header(%q) = %q, want %q", s, got, want)
		}
		if got, ok := ParseHeader(want); !ok || got != s {
			t.Errorf("ParseHeader(%q) = %q, %v, want %q", want, got, ok, s)
		}
	}
}

func TestValidChannel(t *testing.T) {
	for id, want := range map[string]bool{
		"gw-1_a.s.9": true, "": false, "a.b": false, "a.b.c.d": false, "a..c": false, "a.b.*": false, "a.b.>": false, "a.b.c d": false, "a.b." + strings.Repeat("c", 252): false,
	} {
		if got := ValidChannel(id); got != want {
			t.Errorf("ValidChannel(%q) = %v, want %v", id, got, want)
		}
	}
}

// Whatever the string, it comes back from a token and a header; whatever is read is written as it came.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"room:lobby", " a", "a=41", "é\n", "=2E", ":", "a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidName(s) {
			if got, ok := ParseToken(Token(s)); !ok || got != s {
				t.Fatalf("token %q: %q, %v", Token(s), got, ok)
			}
		}
		if ValidTopic(s) {
			if got, ok := ParseTopic(Topic(s)); !ok || got != s {
				t.Fatalf("topic %q: %q, %v", Topic(s), got, ok)
			}
		}
		if got, ok := ParseHeader(Header(s)); !ok || got != s {
			t.Fatalf("header %q: %q, %v", Header(s), got, ok)
		}
		if topic, ok := ParseTopic(s); ok && Topic(topic) != s {
			t.Fatalf("%q read as topic %q", s, topic)
		}
		if name, ok := ParseToken(s); ok && Token(name) != s {
			t.Fatalf("%q read as token %q", s, name)
		}
	})
}
