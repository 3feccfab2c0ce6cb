package rules

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected mistakes in testdata")

// Each testdata/*.yaml has its mistakes in the *.want beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			set, err := Parse("rules.yaml", data)
			if err == nil || set != nil {
				t.Fatalf("taken without a mistake: %+v", set)
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// Mistakes of files that would be long, or hard to see in an editor.
func TestMistakesOfOddFiles(t *testing.T) {
	topic := func(pattern string) string { return fmt.Sprintf("channels:\n- topic: %q\n", pattern) }
	event := func(pattern string) string {
		return fmt.Sprintf("channels:\n- topic: a\n  events:\n  - {event: %q, do: cast}\n", pattern)
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "rules.yaml:1: the file is empty"},
		{"only a comment", "# nothing\n", "rules.yaml:1: the file is empty"},
		{"only a marker", "--- # nothing\n", "the file is empty"},
		{"not UTF-8", "channels:\n- topic: \xff\n", `rules.yaml:2: a byte or character that YAML does not allow: "\xff"`},
		{"control character", "channels:\n\n- topic: \x00\n", `rules.yaml:3: a byte or character that YAML does not allow: "\x00"`},
		{"too long", strings.Repeat("#\n", maxFile/2) + "channels: []", "rules.yaml:524289: the file goes beyond 1048576 bytes here"},
		{"topic of 256 bytes", topic(strings.Repeat("é", 128)), "has 256 bytes, more than 255"},
		{"topic of 17 parts", topic(strings.Repeat(":", 16) + "*"), "has 17 parts, more than 16"},
		{"event of 256 bytes", event(strings.Repeat("e", 255) + "*"), "has 256 bytes, more than 255"},
	} {
		if _, err := Parse("rules.yaml", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, text := range []string{
		topic(strings.Repeat("é", 127) + "*"), topic(strings.Repeat(":", 15) + "*"), event(strings.Repeat("e", 255)), event("a:b"),
		"\ufeff" + topic("a"), "---\n" + topic("a") + "...\n", `{"channels": [{"topic": "a"}]}`,
	} {
		if _, err := Parse("rules.yaml", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if _, err := Load(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	if set, err := Load(file); err != nil || len(set.Rules) != 3 {
		t.Errorf("the example: %+v, %v", set, err)
	}
	if err := os.WriteFile(file, []byte("channels: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || err.Error() != file+`:1: "channels" must be a list, not a mapping` {
		t.Errorf("a mistake: %v", err)
	}
}

// The first rule that matches holds, so one that an earlier one takes everything from is no mistake.
func TestCoveredRules(t *testing.T) {
	set, err := Parse("f", []byte(`channels:
  - {topic: "room:*", events: [{event: "say*", do: cast}, {event: say_it, do: reject}]}
  - {topic: "room:1", join: deny}
`))
	if err != nil {
		t.Fatal(err)
	}
	if r := set.Match("room:1"); r.Join != JoinAuthz || r.Event("say_it").Do != Cast {
		t.Errorf("%+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	line := regexp.MustCompile(`^f:[1-9][0-9]*: .`)
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse("f", data)
		if err != nil {
			if set != nil || !line.MatchString(err.Error()) {
				t.Fatalf("%+v, %v", set, err)
			}
			return
		}
		if len(set.Rules) == 0 {
			t.Fatal("no rules and no mistake")
		}
		for _, r := range set.Rules {
			if set.Match(strings.TrimSuffix(r.Topic, "*")) == nil {
				t.Fatalf("%q matches nothing", r.Topic)
			}
			if r.Presence != nil && r.Presence.Key != nil && r.Join != JoinAllow && r.Join != JoinIf {
				t.Fatalf("a presence key beside join: %v", r.Join)
			}
			for _, e := range r.Events {
				if (e.Do == PresenceUpdate) != (len(e.Fields) > 0) || slices.Contains(e.Fields, "phx_ref") || slices.Contains(e.Fields, "phx_ref_prev") {
					t.Fatalf("%+v", e)
				}
				if e.Do == Reauthorize && r.Join != JoinAuthz && r.Join != JoinIf {
					t.Fatalf("nobody to ask: %+v", e)
				}
				if (e.Do == Call) != (e.Timeout > 0) || e.Do != Broadcast && e.Do != BroadcastFrom && e.Set != nil {
					t.Fatalf("%+v", e)
				}
			}
		}
	})
}
