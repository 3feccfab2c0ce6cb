package authz

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestAppendJoins(t *testing.T) {
	for want, requests := range map[string][]string{`{"joins":[]}`: nil, `{"joins":[{"a":1}]}`: {`{"a":1}`}, `{"joins":[{"a":1},{"b":2}]}`: {`{"a":1}`, `{"b":2}`}} {
		var bodies [][]byte
		for _, r := range requests {
			bodies = append(bodies, []byte(r))
		}
		if got := string(AppendJoins(nil, bodies)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestParseJoinsReply(t *testing.T) {
	for _, tc := range []struct {
		body string
		want []string // "" for one that is to be asked about alone
	}{
		{`{"joins":[]}`, nil},
		{` { "more": [1], "joins" : [ ] } `, nil},
		{`{"joins":[{"status":"ok","response":[1,[2]]}, null ,{"status":"error"}]}`, []string{`{"status":"ok","response":[1,[2]]}`, ``, `{"status":"error"}`}},
		{`{"joins":["],[",1]}`, []string{`"],["`, `1`}}, // nonsense, each by itself
	} {
		replies, err := ParseJoinsReply([]byte(tc.body), len(tc.want))
		if err != nil || len(replies) != len(tc.want) {
			t.Errorf("%s: %q, %v", tc.body, replies, err)
			continue
		}
		for i, want := range tc.want {
			if string(replies[i]) != want || (replies[i] == nil) != (want == "") {
				t.Errorf("%s: reply %d is %s, want %s", tc.body, i, replies[i], want)
			}
		}
	}
}

func TestParseJoinsReplyRefuses(t *testing.T) {
	for _, body := range []string{
		``, `{}`, `[]`, `{"joins":{}}`, `{"joins":null}`, `{"joins":[{}]}`, `{"joins":[{},{},{}]}`, `{"joins":[{},{}`, `{"joins":[{},"` + "\xff" + `"]}`,
		`{"status":"ok"}`, `{"error":"internal"}`, `{"joins":[{},` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]}`, `{"joins":[{},{}],"joins":[{},{}]}`,
	} {
		if replies, err := ParseJoinsReply([]byte(body), 2); !errors.Is(err, ErrNonsense) || replies != nil {
			t.Errorf("%.60s: %q, %v", body, replies, err)
		}
	}
}

func FuzzParseJoinsReply(f *testing.F) {
	f.Add([]byte(`{"joins":[{"status":"ok"},null]}`), uint8(2))
	f.Add([]byte(`{"joins":[]}`), uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, n uint8) {
		replies, err := ParseJoinsReply(body, int(n))
		if err != nil {
			if !errors.Is(err, ErrNonsense) || replies != nil {
				t.Fatalf("%v beside %v", replies, err)
			}
			return
		}
		written := make([][]byte, len(replies))
		for i, r := range replies {
			if written[i] = r; r == nil {
				written[i] = []byte("null")
			}
		}
		again, err := ParseJoinsReply(AppendJoins(nil, written), int(n))
		if err != nil || !slices.EqualFunc(again, replies, bytes.Equal) {
			t.Fatalf("%q came back as %q, %v", replies, again, err)
		}
	})
}
