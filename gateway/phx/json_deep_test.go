package phx

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzScanDeep compares the loop with the recursion.
func FuzzScanDeep(f *testing.F) {
	for _, text := range []string{`[]`, `{}`, `[[],{"a":[1,{"b":null}]},"x"]`, `{"a":{},"b":[[]]}`, `[1,]`, `{"a"}`, `{"a":1,}`, `[}`, `[[1]`, `{"a":[}`, ` [ { "a" : [ ] } ] `} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		i := skipSpace(text, 0)
		if i == len(text) || text[i] != '[' && text[i] != '{' {
			return
		}
		end, err := scanDeep(text, i)
		wantEnd, wantErr := scanValue(text, i, MaxDepth)
		if wantErr == ErrTooDeep {
			return
		}
		if (err == nil) != (wantErr == nil) || err == nil && end != wantEnd {
			t.Fatalf("%q: the loop says %d, %v; the recursion %d, %v", text, end, err, wantEnd, wantErr)
		}
		if err == nil && !json.Valid(text[i:end]) {
			t.Fatalf("%q is not JSON", text[i:end])
		}
	})
}

func TestScanDeepKinds(t *testing.T) {
	// Alternating kinds over several words of the stack.
	text := strings.Repeat(`[{"a":`, 200) + `1` + strings.Repeat(`}]`, 200)
	if end, err := scanDeep([]byte(text), 0); err != nil || end != len(text) {
		t.Errorf("%d, %v; want %d", end, err, len(text))
	}
	bad := strings.Replace(text, "}]}", "}}]", 1)
	if _, err := scanDeep([]byte(bad), 0); err != ErrNotJSON {
		t.Errorf("crossed brackets: %v", err)
	}
}
