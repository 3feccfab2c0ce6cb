package phxtest

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestTranscripts(t *testing.T) {
	for _, test := range []struct {
		name    string
		filters []Filter
		want    int
	}{
		{"all", nil, 124},
		{"must", []Filter{Level("must")}, 102},
		{"phoenix", []Filter{Level("phoenix")}, 22},
		{"one", []Filter{Only("join is acknowledged")}, 1},
		{"all but one", []Filter{Without("join is acknowledged")}, 123},
		{"both filters", []Filter{Level("phoenix"), Only("join is acknowledged")}, 0},
		{"no file", []Filter{WithoutFiles("*.json")}, 0},
	} {
		all, err := Transcripts(test.filters...)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != test.want {
			t.Errorf("%s: %d transcripts, want %d", test.name, len(all), test.want)
		}
		for _, transcript := range all {
			if transcript.Name == "" || transcript.File == "" || len(transcript.Steps) == 0 {
				t.Errorf("%s: incomplete: %+v", test.name, transcript)
			}
		}
	}
	all, err := Transcripts(WithoutFiles("presence_*.json", "longpoll.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, transcript := range all {
		if strings.HasPrefix(transcript.File, "presence_") || transcript.File == "longpoll.json" {
			t.Errorf("%s is still there", transcript.File)
		}
	}
}

func TestLoadTranscriptsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":      `{`,
		"unknown key":  `{"transcripts":[],"x":1}`,
		"unknown step": `{"transcripts":[{"name":"a","level":"must","about":"","steps":[{"as":"A","recieve":1}]}]}`,
	} {
		fsys := fstest.MapFS{"dir/bad.json": {Data: []byte(text)}}
		if _, err := LoadTranscripts(fsys); err == nil || !strings.Contains(err.Error(), "dir/bad.json") {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
}
