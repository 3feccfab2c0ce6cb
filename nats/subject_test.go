package nats

import (
	"bytes"
	"strings"
	"testing"
)

func mustSubjects(t testing.TB, prefix string) Subjects {
	t.Helper()
	s, err := NewSubjects(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTopicEncoding(t *testing.T) {
	for _, c := range []struct{ topic, tokens string }{
		{"room:lobby", "room.lobby"},
		{"user:42:inbox", "user.42.inbox"},
		{"doc:a.b/c d*", "doc.a=2Eb=2Fc=20d=2A"},
		{"room:", "room.="},
		{"lobby", "lobby"},
		{":", "=.="},
		{":a", "=.a"},
		{"a::b", "a.=.b"},
		{"=", "=3D"},
		{"=:=41", "=3D.=3D41"},
		{"$SYS>", "=24SYS=3E"},
		{"A-Z_9", "A-Z_9"},
		{"é\x00\x7f", "=C3=A9=00=7F"},
	} {
		if got := string(AppendTopic([]byte("x."), c.topic)); got != "x."+c.tokens {
			t.Errorf("AppendTopic(%q) = %q, want x.%s", c.topic, got, c.tokens)
		}
		if got, err := DecodeTopic(c.tokens); err != nil || got != c.topic {
			t.Errorf("DecodeTopic(%q) = %q, %v; want %q", c.tokens, got, err, c.topic)
		}
	}
}

func TestTokenEncoding(t *testing.T) {
	for _, c := range []struct{ s, tok string }{
		{"", "="},
		{"new_msg", "new_msg"},
		{"user_socket:42", "user_socket=3A42"},
		{"a.b", "a=2Eb"},
		{"=", "=3D"},
		{">", "=3E"},
	} {
		if got := string(AppendToken(nil, c.s)); got != c.tok {
			t.Errorf("AppendToken(%q) = %q, want %q", c.s, got, c.tok)
		}
		if got, err := DecodeToken(c.tok); err != nil || got != c.s {
			t.Errorf("DecodeToken(%q) = %q, %v; want %q", c.tok, got, err, c.s)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	neither := []string{"", "=2e", "=41", "=2D", "=5F", "a=", "==", "=2", "=2G", "a b", "a*", ">", "é", "a:b", "=3D=", "+1"}
	for _, s := range append(neither, "=3A", "a.", ".a", "a..b", ".", "room.=.=41", "room.=2E=") {
		if got, err := DecodeTopic(s); err == nil {
			t.Errorf("DecodeTopic(%q) = %q, want an error", s, got)
		}
	}
	for _, s := range append(neither, "a.b", "=3a") {
		if got, err := DecodeToken(s); err == nil {
			t.Errorf("DecodeToken(%q) = %q, want an error", s, got)
		}
	}
}

func TestValidTopic(t *testing.T) {
	for _, c := range []struct {
		topic string
		want  bool
	}{
		{"", false},
		{"a", true},
		{strings.Repeat("a", 255), true},
		{strings.Repeat("a", 256), false},
		{strings.Repeat("é", 127) + "a", true},
		{strings.Repeat("é", 128), false},
		{strings.Repeat(":", 15), true},
		{strings.Repeat(":", 16), false},
		{"room:\xff", false},
		{"room:\xed\xa0\x80", false},
		{"room:\x00", true},
	} {
		if got := ValidTopic(c.topic); got != c.want {
			t.Errorf("ValidTopic(%q) = %v, want %v", c.topic, got, c.want)
		}
	}
}

func TestNewSubjectsRefuses(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"", "it is empty"},
		{strings.Repeat("a", 65), "65 bytes, more than 64"},
		{"$SYS", "belong to NATS"},
		{"_INBOX.a", "belong to NATS"},
		{"a..b", "empty token"},
		{".a", "empty token"},
		{"a.", "empty token"},
		{"a.*", `'*' is not one of`},
		{"a b", `' ' is not one of`},
		{"é", `'é' is not one of`},
		{"a\xff", `'�' is not one of`},
	} {
		if _, err := NewSubjects(c.prefix); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("NewSubjects(%q): %v, want an error with %q", c.prefix, err, c.want)
		}
	}
	for _, prefix := range []string{"phx", "eu-1.chat_2.X", strings.Repeat("a", 64), "a._INBOX"} {
		if _, err := NewSubjects(prefix); err != nil {
			t.Errorf("NewSubjects(%q): %v", prefix, err)
		}
	}
}

func TestSubjects(t *testing.T) {
	s := mustSubjects(t, "eu.phx")
	for _, c := range []struct{ got, want string }{
		{s.Topic("room:a b"), "eu.phx.topic.room.a=20b"},
		{s.Event("a:b", "room:"), "eu.phx.event.a=3Ab.room.="},
		{s.Event("", "lobby"), "eu.phx.event.=.lobby"},
		{s.Channel("gw1.s2.3"), "eu.phx.channel.gw1.s2.3"},
		{s.ChannelsOf("gw1"), "eu.phx.channel.gw1.>"},
		{s.Socket("user:42"), "eu.phx.socket.user=3A42"},
		{s.AllSockets(), "eu.phx.socket.*"},
		{s.Joined("room:1"), "eu.phx.joined.room.1"},
		{s.Left("room:1"), "eu.phx.left.room.1"},
		{s.GatewayLost(), "eu.phx.gateway.lost"},
		{s.Dropped(), "eu.phx.dropped"},
		{s.AuthzConnect(), "eu.phx.authz.connect"},
		{s.AuthzJoin(), "eu.phx.authz.join"},
		{s.AuthzJoins(), "eu.phx.authz.joins"},
		{s.Rechecks(), "eu.phx.authz.recheck.>"},
		{s.RecheckTopic("room:1"), "eu.phx.authz.recheck.topic.room.1"},
		{s.RecheckSocket("user:42"), "eu.phx.authz.recheck.socket.user=3A42"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestParseSubjects(t *testing.T) {
	s := mustSubjects(t, "phx")
	long := strings.Repeat("a", 256)
	for _, c := range []struct {
		name    string
		parse   func(string) (string, bool)
		subject string
		want    string // "" where the subject is refused
	}{
		{"topic", s.ParseTopic, "phx.topic.room.a=2Eb", "room:a.b"},
		{"topic", s.ParseTopic, "phx.topic.=", ""},
		{"topic", s.ParseTopic, "phx.topic.", ""},
		{"topic", s.ParseTopic, "phx.topic", ""},
		{"topic", s.ParseTopic, "phx.topic.=FF", ""},
		{"topic", s.ParseTopic, "phx.topic.room.=2e", ""},
		{"topic", s.ParseTopic, "phx.topic." + long, ""},
		{"topic", s.ParseTopic, "phy.topic.room", ""},
		{"topic", s.ParseTopic, "phx.event.room", ""},
		{"channel", s.ParseChannel, "phx.channel.gw-1.Ab_9.12", "gw-1.Ab_9.12"},
		{"channel", s.ParseChannel, "phx.channel.gw.1", ""},
		{"channel", s.ParseChannel, "phx.channel.gw.1.2.3", ""},
		{"channel", s.ParseChannel, "phx.channel.gw..2", ""},
		{"channel", s.ParseChannel, "phx.channel.gw.1.>", ""},
		{"channel", s.ParseChannel, "phx.channel.gw.1." + long, ""},
		{"channel", s.ParseChannel, "phx.topic.gw.1.2", ""},
		{"socket", s.ParseSocket, "phx.socket.user=3A42", "user:42"},
		{"socket", s.ParseSocket, "phx.socket.=", ""},
		{"socket", s.ParseSocket, "phx.socket.a.b", ""},
		{"socket", s.ParseSocket, "phx.socket.=FF", ""},
		{"socket", s.ParseSocket, "phx.socket." + long, ""},
		{"socket", s.ParseSocket, "phx.sockets.a", ""},
	} {
		if got, ok := c.parse(c.subject); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q parsed to %q, %v; want %q", c.name, c.subject, got, ok, c.want)
		}
	}
}

func TestParseRecheck(t *testing.T) {
	s := mustSubjects(t, "phx")
	for subject, want := range map[string][2]string{
		"phx.authz.recheck.topic.room.a=2Eb":   {"room:a.b", ""},
		"phx.authz.recheck.socket.user=3A42":   {"", "user:42"},
		"phx.authz.recheck.topic.room.=2e":     {},
		"phx.authz.recheck.topic.":             {},
		"phx.authz.recheck.socket.a.b":         {},
		"phx.authz.recheck.socket.=":           {},
		"phx.authz.recheck.channel.gw.1.2":     {},
		"phx.authz.recheck.topic":              {},
		"phx.authz.recheck.socket.=FF":         {},
		"phx.authz.rechecks.socket.user=3A42":  {},
		"phx.authz.recheck.topics.room.a=2Eb.": {},
	} {
		topic, id, ok := s.ParseRecheck(subject)
		if topic != want[0] || id != want[1] || ok != (want != [2]string{}) {
			t.Errorf("%s: %q, %q, %v; want %q", subject, topic, id, ok, want)
		}
	}
}

// No subject that can be published comes near the length at which a NATS server ends the connection.
func TestSubjectLength(t *testing.T) {
	s := mustSubjects(t, strings.Repeat("p", maxPrefix))
	worst := strings.Repeat("\x00", 255)
	parts := strings.Repeat(":", 15) + strings.Repeat("/", 240)
	channel := strings.Repeat("g", 100) + "." + strings.Repeat("s", 100) + "." + strings.Repeat("9", 53)
	for _, topic := range []string{worst, parts} {
		if !ValidTopic(topic) {
			t.Fatalf("%q is not valid", topic)
		}
		for _, subject := range []string{
			s.Topic(topic), s.Event(worst, topic), s.Joined(topic), s.Left(topic), s.Socket(worst), s.Channel(channel),
			s.ChannelsOf(strings.Repeat("g", 255)), s.AllSockets(), s.Gateway(strings.Repeat("g", 64)), s.AllGateways(), s.GatewayLost(), s.Dropped(), s.AuthzConnect(), s.AuthzJoin(), s.AuthzJoins(), s.RecheckTopic(topic), s.RecheckSocket(worst),
		} {
			if len(subject) > maxSubject {
				t.Errorf("%d bytes: %.80s…", len(subject), subject)
			}
		}
	}
	if got, want := len(s.Event(worst, worst)), 64+len(".event.")+3*255+1+3*255; got != want {
		t.Errorf("the longest subject has %d bytes, want %d", got, want)
	}
}

func TestSubjectAllocations(t *testing.T) {
	s := mustSubjects(t, "phx")
	topic := "room:" + strings.Repeat("é", 125)
	var sink string
	for name, f := range map[string]func(){
		"Topic":  func() { sink = s.Topic(topic) },
		"Event":  func() { sink = s.Event("new_msg", topic) },
		"Socket": func() { sink = s.Socket("user_socket:42") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 1 {
			t.Errorf("%s: %v allocations, want 1", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { sink, _ = s.ParseChannel("phx.channel.gw.1.2") }); n != 0 {
		t.Errorf("ParseChannel: %v allocations, want 0", n)
	}
	_ = sink
}

func FuzzTopicRoundTrip(f *testing.F) {
	f.Add("room:lobby", "room.lobby")
	f.Add(":a::=41", "")
	f.Add("\xff*>", "é")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := AppendTopic(nil, a), AppendTopic(nil, b)
		if bytes.Equal(x, y) != (a == b) {
			t.Fatalf("%q and %q are both %q", a, b, x)
		}
		for _, c := range x {
			if !isSafe(c) && c != '=' && c != '.' {
				t.Fatalf("%q encodes to %q, which holds %q", a, x, c)
			}
		}
		if got, err := DecodeTopic(string(x)); err != nil || got != a {
			t.Fatalf("%q encodes to %q and decodes to %q, %v", a, x, got, err)
		}
		tok := AppendToken(nil, a)
		if bytes.IndexByte(tok, '.') >= 0 {
			t.Fatalf("%q encodes to more than one token: %q", a, tok)
		}
		if got, err := DecodeToken(string(tok)); err != nil || got != a {
			t.Fatalf("%q encodes to %q and decodes to %q, %v", a, tok, got, err)
		}
	})
}

func FuzzDecodeIsCanonical(f *testing.F) {
	for _, s := range []string{"room.=", "=41", "=2e", "a=2Eb", "=3A", "a..b", "=", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if topic, err := DecodeTopic(s); err == nil && string(AppendTopic(nil, topic)) != s {
			t.Fatalf("DecodeTopic took %q for %q", s, topic)
		}
		if v, err := DecodeToken(s); err == nil && string(AppendToken(nil, v)) != s {
			t.Fatalf("DecodeToken took %q for %q", s, v)
		}
	})
}
