package phxtest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

//go:embed testdata/transcripts/*.json
var transcripts embed.FS

// Transcript is one scripted session with a server, as testdata/transcripts
// holds it.
type Transcript struct {
	File  string // the file's base name, such as "join.json"
	Name  string
	Level string // "must": clients can depend on it; "phoenix": harmless to do differently
	About string
	Steps []Step
}

// Step is one step of a transcript. Exactly one of the fields that say what
// to do is set; As names the connection it is done on.
type Step struct {
	As string `json:"as"`

	Open           *string                    `json:"open"` // the connection's name
	Path           string                     `json:"path"`
	Query          map[string]json.RawMessage `json:"query"`
	Protocols      []string                   `json:"protocols"`
	Headers        map[string]json.RawMessage `json:"headers"`
	ExpectProtocol *string                    `json:"expect_protocol"`

	Send     json.RawMessage `json:"send"`
	SendText *string         `json:"send_text"`
	SendHex  *string         `json:"send_hex"`

	Recv      json.RawMessage   `json:"recv"`
	RecvHex   *string           `json:"recv_hex"`
	RecvSet   []json.RawMessage `json:"recv_set"`
	Optional  []json.RawMessage `json:"optional"`
	RecvUntil json.RawMessage   `json:"recv_until"`
	QuietMS   *int              `json:"quiet_ms"`
	Drain     bool              `json:"drain"`
	Closed    []int             `json:"closed"`

	Close   *int `json:"close"`
	Kill    bool `json:"kill"`
	SleepMS *int `json:"sleep_ms"`

	HTTP        *Request          `json:"http"`
	HTTPStart   *Request          `json:"http_start"`
	HTTPFinish  *string           `json:"http_finish"` // the name that http_start gave
	HTTPCollect *Request          `json:"http_collect"`
	Expect      *Expect           `json:"expect"`
	Messages    []json.RawMessage `json:"messages"`

	text string // the step as it is written, for errors
}

// Request is an HTTP request of a step. Values may be {"$bind": name}.
type Request struct {
	Method  string                     `json:"method"`
	Path    string                     `json:"path"`
	Query   map[string]json.RawMessage `json:"query"`
	Headers map[string]json.RawMessage `json:"headers"`
	Body    json.RawMessage            `json:"body"`
}

// Expect is what an HTTP answer must be; what is absent is not looked at.
type Expect struct {
	Status  int                `json:"status"`
	Body    *string            `json:"body"`    // exact
	JSON    json.RawMessage    `json:"json"`    // a pattern
	Headers map[string]*string `json:"headers"` // exact; null: absent
}

// UnmarshalJSON refuses a key that it does not know: a step that is only half
// understood would pass.
func (s *Step) UnmarshalJSON(text []byte) error {
	type plain Step
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode((*plain)(s)); err != nil {
		return fmt.Errorf("step %s: %w", text, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	s.text = compact.String()
	return nil
}

// String returns the step as the file writes it, on one line.
func (s Step) String() string { return s.text }

// Filter says which transcripts to load.
type Filter func(Transcript) bool

// Level keeps the transcripts of one level, "must" or "phoenix".
func Level(level string) Filter {
	return func(t Transcript) bool { return t.Level == level }
}

// Only keeps the transcripts with these names.
func Only(names ...string) Filter {
	return func(t Transcript) bool { return slices.Contains(names, t.Name) }
}

// Without leaves out the transcripts with these names.
func Without(names ...string) Filter {
	return func(t Transcript) bool { return !slices.Contains(names, t.Name) }
}

// WithoutFiles leaves out the files that one of the patterns of path.Match
// matches, such as "presence_*.json".
func WithoutFiles(patterns ...string) Filter {
	return func(t Transcript) bool {
		return !slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, t.File)
			return ok && err == nil
		})
	}
}

// Transcripts returns the transcripts that come with this package, those that
// pass all filters.
func Transcripts(filters ...Filter) ([]Transcript, error) {
	return LoadTranscripts(transcripts, filters...)
}

// LoadTranscripts reads every .json file of fsys, in the order of their paths,
// and returns the transcripts that pass all filters. A file that is not well
// formed is an error that names it.
func LoadTranscripts(fsys fs.FS, filters ...Filter) ([]Transcript, error) {
	var all []Transcript
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".json" {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		var file struct{ Transcripts []Transcript }
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, t := range file.Transcripts {
			t.File = path.Base(name)
			if !slices.ContainsFunc(filters, func(keep Filter) bool { return !keep(t) }) {
				all = append(all, t)
			}
		}
		return nil
	})
	return all, err
}
