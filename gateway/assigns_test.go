package gateway

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
)

func TestMergeAssigns(t *testing.T) {
	for _, tc := range []struct{ base, over, want string }{
		{``, ``, ``},
		{`{}`, ``, ``},
		{``, ` { } `, ``},
		{`{}`, `{}`, ``},
		{`{"a":1}`, ``, `{"a":1}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
		{``, "{ \"a\" :\n1.50 }", `{"a":1.50}`},
		{`{"a":1,"b":{"c":1}}`, `{"b":{"d":2},"e":3}`, `{"a":1,"b":{"d":2},"e":3}`},
		{`{"a":1}`, `{"\u0061":null}`, `{"a":null}`},
		{``, `{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{`{"\u00e9":1}`, `{"é":"😀"}`, `{"\u00e9":"\ud83d\ude00"}`},
		{`{"":1}`, `{"\"\n":2}`, `{"":1,"\"\n":2}`},
	} {
		var base, over json.RawMessage
		if tc.base != "" {
			base = json.RawMessage(tc.base)
		}
		if tc.over != "" {
			over = json.RawMessage(tc.over)
		}
		got, err := MergeAssigns(base, over)
		if err != nil || string(got) != tc.want || (got == nil) != (tc.want == "") {
			t.Errorf("%s over %s: got %q, %v, want %q", tc.over, tc.base, got, err, tc.want)
		}
	}
}

func TestMergeAssignsRefuses(t *testing.T) {
	for _, over := range []string{`null`, `[]`, `{"a":1`, `{"a":"` + "\xff" + `"}`, ` `} {
		if got, err := MergeAssigns(json.RawMessage(`{"b":2}`), json.RawMessage(over)); err == nil || got != nil {
			t.Errorf("%q: got %s, %v", over, got, err)
		}
	}
}

func TestMergeAssignsLimit(t *testing.T) {
	filled := func(n int) json.RawMessage { return json.RawMessage(`{"a":"` + strings.Repeat("x", n-8) + `"}`) }
	got, err := MergeAssigns(nil, filled(MaxAssigns))
	if err != nil || len(got) != MaxAssigns {
		t.Fatalf("at the limit: %d bytes, %v", len(got), err)
	}
	if _, err := MergeAssigns(nil, filled(MaxAssigns+1)); !errors.Is(err, ErrAssignsTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
	if _, err := MergeAssigns(got, json.RawMessage(`{"b":1}`)); !errors.Is(err, ErrAssignsTooLarge) {
		t.Errorf("together too large: %v", err)
	}
	if shrunk, err := MergeAssigns(got, json.RawMessage(`{"a":1}`)); err != nil || string(shrunk) != `{"a":1}` {
		t.Errorf("replaced by less: %s, %v", shrunk, err)
	}
	if _, err := MergeAssigns(nil, json.RawMessage(`{"a":"`+strings.Repeat("é", MaxAssigns/6)+`"}`)); !errors.Is(err, ErrAssignsTooLarge) {
		t.Errorf("too large once it is ASCII: %v", err)
	}
}

func FuzzMergeAssigns(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":1}}`), []byte(`{"b":{"d":"é"},"e":3}`))
	f.Add([]byte(`{"\u0061":1}`), []byte("{ \"a\":\n2 }"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		base, err := MergeAssigns(nil, first)
		if err != nil {
			return
		}
		got, err := MergeAssigns(base, second)
		if err != nil {
			return
		}
		want := map[string]any{}
		for _, obj := range [][]byte{first, second} {
			if len(obj) > 0 {
				maps.Copy(want, decodeModel(t, obj))
			}
		}
		if got == nil {
			if len(want) > 0 {
				t.Fatalf("nothing of %v", want)
			}
			return
		}
		var have map[string]any
		if err := json.Unmarshal(got, &have); err != nil || !reflect.DeepEqual(have, want) {
			t.Fatalf("got %s (%v), want %v", got, err, want)
		}
		if len(got) > MaxAssigns {
			t.Fatalf("%d bytes", len(got))
		}
		for _, c := range got {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is not printable ASCII", got)
			}
		}
	})
}

// decodeModel is encoding/json's reading of an object.
func decodeModel(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var model map[string]any
	var typeError *json.UnmarshalTypeError
	if err := json.Unmarshal(body, &model); errors.As(err, &typeError) && strings.HasPrefix(typeError.Value, "number") {
		t.Skip("1e999 is JSON, but no float64")
	} else if err != nil {
		t.Fatalf("merged, but encoding/json says %v of %s", err, body)
	}
	return model
}
