package phxtest

import (
	"maps"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		name, pattern, value string
		bound                Bindings
		want                 bool
		after                Bindings
	}{
		{name: "null", pattern: `null`, value: `null`, want: true},
		{name: "null is not false", pattern: `null`, value: `false`},
		{name: "string", pattern: `"a"`, value: `"\u0061"`, want: true},
		{name: "the string 1 is not the number", pattern: `"1"`, value: `1`},
		{name: "1 is 1.0", pattern: `1`, value: `1.0`, want: true},
		{name: "1 is 1e0", pattern: `1`, value: `1e0`, want: true},
		{name: "0 is -0", pattern: `0`, value: `-0`, want: true},
		{name: "large integers differ", pattern: `9007199254740993`, value: `9007199254740992`},
		{name: "key order", pattern: `{"a":1,"b":{"c":[]}}`, value: `{"b":{"c":[]},"a":1}`, want: true},
		{name: "key missing", pattern: `{"a":1,"b":2}`, value: `{"a":1}`},
		{name: "key too many", pattern: `{"a":1}`, value: `{"a":1,"b":2}`},
		{name: "other key", pattern: `{"a":null}`, value: `{"b":null}`},
		{name: "array order", pattern: `[1,2]`, value: `[2,1]`},
		{name: "array longer", pattern: `[1]`, value: `[1,2]`},
		{name: "array is no object", pattern: `{}`, value: `[]`},

		{name: "$type string", pattern: `{"$type":"string"}`, value: `""`, want: true},
		{name: "$type string, number", pattern: `{"$type":"string"}`, value: `1`},
		{name: "$type number", pattern: `{"$type":"number"}`, value: `1`, want: true},
		{name: "$type boolean", pattern: `{"$type":"boolean"}`, value: `true`, want: true},
		{name: "$type object, null", pattern: `{"$type":"object"}`, value: `null`, want: true},
		{name: "two keys are plain", pattern: `{"$type":"string","x":1}`, value: `{"$type":"string","x":1}`, want: true},
		{name: "unknown $ is plain", pattern: `{"$other":1}`, value: `{"$other":1}`, want: true},

		{name: "$bind first", pattern: `{"$bind":"x"}`, value: `"v"`, want: true, after: Bindings{"x": "v"}},
		{name: "$bind again", pattern: `{"$bind":"x"}`, value: `"v"`, bound: Bindings{"x": "v"}, want: true, after: Bindings{"x": "v"}},
		{name: "$bind other", pattern: `{"$bind":"x"}`, value: `"w"`, bound: Bindings{"x": "v"}, after: Bindings{"x": "v"}},
		{name: "$bind no string", pattern: `{"$bind":"x"}`, value: `1`},
		{name: "$bind twice in one", pattern: `[{"$bind":"x"},{"$bind":"x"}]`, value: `["v","w"]`},
		{name: "failure binds nothing", pattern: `[{"$bind":"x"},1]`, value: `["v",2]`},

		{name: "$json", pattern: `{"$json":[1,{"$bind":"x"}]}`, value: `"[1,\"v\"]"`, want: true, after: Bindings{"x": "v"}},
		{name: "$json of no JSON", pattern: `{"$json":1}`, value: `"1 2"`},
		{name: "$json of no string", pattern: `{"$json":1}`, value: `1`},

		{name: "$set", pattern: `{"$set":[1,2,2]}`, value: `[2,1,2]`, want: true},
		{name: "$set short", pattern: `{"$set":[1,2]}`, value: `[1]`},
		{name: "$set each once", pattern: `{"$set":[1,2]}`, value: `[1,1]`},
		{name: "$set goes back", pattern: `{"$set":[{"$type":"string"},"a"]}`, value: `["a","b"]`, want: true},
		{name: "$set goes back for what is behind", pattern: `[{"$set":[{"$bind":"x"},{"$bind":"y"}]},{"$bind":"x"}]`,
			value: `[["a","b"],"b"]`, want: true, after: Bindings{"x": "b", "y": "a"}},
		{name: "$repeat matches nothing", pattern: `{"$repeat":["a",2]}`, value: `"aa"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := maps.Clone(test.bound)
			after, got, err := Match([]byte(test.pattern), []byte(test.value), test.bound)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("match %s against %s: %v, want %v", test.pattern, test.value, got, test.want)
			}
			if !maps.Equal(after, test.after) {
				t.Errorf("bindings after: %v, want %v", after, test.after)
			}
			if !maps.Equal(before, test.bound) {
				t.Errorf("the bindings given became %v", test.bound)
			}
		})
	}
}

func TestMatchRefusesWhatIsNoJSON(t *testing.T) {
	for _, texts := range [][2]string{{`{`, `1`}, {`1`, ``}, {`1`, `1 1`}} {
		if _, ok, err := Match([]byte(texts[0]), []byte(texts[1]), nil); err == nil || ok {
			t.Errorf("match %q against %q: %v, %v, want an error", texts[0], texts[1], ok, err)
		}
	}
}

func TestFill(t *testing.T) {
	bound := Bindings{"tok": "a&<b>"}
	got, err := fillText([]byte(`[{"$bind":"tok"},{"pad":{"$repeat":["xy",3]}},9007199254740993]`), bound)
	if want := `["a&<b>",{"pad":"xyxyxy"},9007199254740993]`; err != nil || string(got) != want {
		t.Errorf("fill: %s, %v, want %s", got, err, want)
	}
	for _, text := range []string{
		`{"$bind":"other"}`, `{"$type":"string"}`, `{"$repeat":["x"]}`, `{"$repeat":["x",-1]}`, `{"$repeat":["x",1e3]}`,
		`{"$repeat":["xx",` + strings.Repeat("9", 10) + `]}`,
	} {
		if got, err := fillText([]byte(text), bound); err == nil {
			t.Errorf("fill %s: %s, want an error", text, got)
		}
	}
}
