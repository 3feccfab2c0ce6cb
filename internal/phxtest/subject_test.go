package phxtest

import "testing"

// The table of docs/contract.md, "Topics and subjects".
func TestTopicTokens(t *testing.T) {
	for topic, want := range map[string]string{
		"room:lobby":    "room.lobby",
		"user:42:inbox": "user.42.inbox",
		"doc:a.b/c d*":  "doc.a=2Eb=2Fc=20d=2A",
		"room:":         "room.=",
		"lobby":         "lobby",
		"room:ż🦆":       "room.=C5=BC=F0=9F=A6=86",
		"::":            "=.=.=",
	} {
		if got := TopicTokens(topic); got != want {
			t.Errorf("T(%q) = %s, want %s", topic, got, want)
		}
	}
	if got, want := Token("user_socket:7"), "user_socket=3A7"; got != want {
		t.Errorf("I = %s, want %s", got, want)
	}
}

func TestHeaderValue(t *testing.T) {
	for s, want := range map[string]string{
		"":             "",
		"room:a b/c":   "room:a b/c",
		"a=b":          "a=3Db",
		" a":           "=20a",
		"room: ":       "room:=20",
		"room:ż":       "room:=C5=BC",
		"line\nbreak.": "line=0Abreak=2E",
	} {
		if got := HeaderValue(s); got != want {
			t.Errorf("HeaderValue(%q) = %s, want %s", s, got, want)
		}
		if back, err := ParseHeaderValue(want); err != nil || back != s {
			t.Errorf("ParseHeaderValue(%q) = %q, %v, want %q", want, back, err, s)
		}
	}
	for _, bad := range []string{"=", "=4", "=41", "=2e", "=+1", "a=zz", "ż", "\x01", "=20ż"} {
		if got, err := ParseHeaderValue(bad); err == nil {
			t.Errorf("ParseHeaderValue(%q) = %q, want an error", bad, got)
		}
	}
}
