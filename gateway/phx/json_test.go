package phx

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	for text, want := range map[string]error{
		``:                       ErrNotJSON,
		" \n":                    ErrNotJSON,
		"\r\n\t null \r\n\t":     nil,
		"\vnull":                 ErrNotJSON,
		"\u00a0null":             ErrNotJSON,
		"\ufeffnull":             ErrNotJSON,
		`nul`:                    ErrNotJSON,
		`nulll`:                  ErrNotJSON,
		`True`:                   ErrNotJSON,
		`true`:                   nil,
		`false`:                  nil,
		`fals`:                   ErrNotJSON,
		`[true,false,null]`:      nil,
		`true false`:             ErrNotJSON,
		`0`:                      nil,
		`-0`:                     nil,
		`-`:                      ErrNotJSON,
		`+1`:                     ErrNotJSON,
		`00`:                     ErrNotJSON,
		`-01`:                    ErrNotJSON,
		`10`:                     nil,
		`.5`:                     ErrNotJSON,
		`1.`:                     ErrNotJSON,
		`1.e1`:                   ErrNotJSON,
		`0.00`:                   nil,
		`1e`:                     ErrNotJSON,
		`1e+`:                    ErrNotJSON,
		`1E-05`:                  nil,
		`0e999999999`:            nil,
		`0x1`:                    ErrNotJSON,
		`NaN`:                    ErrNotJSON,
		`""`:                     nil,
		`"`:                      ErrNotJSON,
		`"\"`:                    ErrNotJSON,
		`"\/\b\f\n\r\t\"\\"`:     nil,
		`"\x"`:                   ErrNotJSON,
		`"\u12"`:                 ErrNotJSON,
		`"\u12g4"`:               ErrNotJSON,
		`"\uAbCd"`:               nil,
		`"\ud800"`:               nil,
		`'a'`:                    ErrNotJSON,
		"\"\x7f\"":               nil,
		"\"\u2028\"":             nil,
		"\"\xff\"":               ErrNotUTF8,
		"\"\xed\xa0\x80\"":       ErrNotUTF8,
		"\"\xc0\xaf\"":           ErrNotUTF8,
		"{\xff":                  ErrNotUTF8,
		`[]`:                     nil,
		`[ 1 , 2 ]`:              nil,
		`[1,]`:                   ErrNotJSON,
		`[,1]`:                   ErrNotJSON,
		`[1 2]`:                  ErrNotJSON,
		`[`:                      ErrNotJSON,
		`]`:                      ErrNotJSON,
		`[1}`:                    ErrNotJSON,
		`{}`:                     nil,
		`{ "a" : 1 , "a" : {} }`: nil,
		`{"a"}`:                  ErrNotJSON,
		`{"a":}`:                 ErrNotJSON,
		`{"a":1,}`:               ErrNotJSON,
		`{a:1}`:                  ErrNotJSON,
		`{1:1}`:                  ErrNotJSON,
		`{"a" 1}`:                ErrNotJSON,
		`{"a":1`:                 ErrNotJSON,
		`{"a":1]`:                ErrNotJSON,
		`{"a":1 "b":2}`:          ErrNotJSON,
		`{}{}`:                   ErrNotJSON,
		`/**/1`:                  ErrNotJSON,
	} {
		if err := CheckJSON([]byte(text)); err != want {
			t.Errorf("CheckJSON(%q) = %v, want %v", text, err, want)
		}
	}
}

// A byte that ends a string's plain run is found at every place in a word of
// eight, whatever stands beside it.
func TestCheckJSONStringWords(t *testing.T) {
	for _, fill := range []string{"a", "\x7f", " ", "!", "#", "[", "]", "ż", "\u0080", "🦆"} {
		for before := range 20 {
			for after := range 10 {
				for inner, want := range map[string]error{
					"": nil, `\"`: nil, `\\`: nil, "\x00": ErrNotJSON, "\x1f": ErrNotJSON, "\n": ErrNotJSON, `\`: ErrNotJSON, `"`: ErrNotJSON,
				} {
					if inner == `\` && after == 0 {
						inner = `\a` // alone it would escape the closing quote
					}
					text := `"` + strings.Repeat(fill, before) + inner + strings.Repeat(fill, after) + `"`
					if err := CheckJSON([]byte(text)); err != want {
						t.Fatalf("CheckJSON(%q) = %v, want %v", text, err, want)
					}
				}
			}
		}
	}
}

func TestCheckDepth(t *testing.T) {
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"arrays at the limit", CheckJSON([]byte(nested(MaxDepth))), nil},
		{"arrays beyond", CheckJSON([]byte(nested(MaxDepth + 1))), ErrTooDeep},
		{"arrays without an end", CheckJSON([]byte(strings.Repeat("[", 10_000_000))), ErrTooDeep},
		{"objects at the limit", CheckPayload([]byte(nestedObject(MaxDepth))), nil},
		{"objects beyond", CheckPayload([]byte(nestedObject(MaxDepth + 1))), ErrTooDeep},
		{"many siblings", CheckJSON([]byte("[" + strings.Repeat("[],", 2*MaxDepth) + "{}]")), nil},
		{"an envelope", CheckJSONDepth([]byte(nested(MaxDepth+1)), MaxDepth+1), nil},
		{"a scalar at depth 0", CheckJSONDepth([]byte(`1`), 0), nil},
		{"an array at depth 0", CheckJSONDepth([]byte(`[]`), 0), ErrTooDeep},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestCheckPayload(t *testing.T) {
	for text, want := range map[string]error{
		`{}`:           nil,
		" {\"a\":1}\n": nil,
		`[]`:           ErrNotObject,
		`"{}"`:         ErrNotObject,
		`null`:         ErrNotObject,
		`[`:            ErrNotJSON,
		`{}}`:          ErrNotJSON,
		``:             ErrNotJSON,
		"{\"\xff\":1}": ErrNotUTF8,
	} {
		if err := CheckPayload([]byte(text)); err != want {
			t.Errorf("CheckPayload(%q) = %v, want %v", text, err, want)
		}
	}
	payload := []byte(`{"body":"hello \"żółw\"","n":[1,2.5,null,true]}`)
	if allocs := testing.AllocsPerRun(100, func() { _ = CheckPayload(payload) }); allocs != 0 {
		t.Errorf("CheckPayload: %v allocations", allocs)
	}
}

func TestTrimJSONAndIsObject(t *testing.T) {
	for text, trimmed := range map[string]string{
		"": "", " \t\r\n": "", "{}": "{}", "\n{ } ": "{ }", " [1] ": "[1]", "\u00a0": "\u00a0",
	} {
		if got := string(TrimJSON([]byte(text))); got != trimmed {
			t.Errorf("TrimJSON(%q) = %q, want %q", text, got, trimmed)
		}
		if got, want := IsObject([]byte(text)), strings.HasPrefix(trimmed, "{"); got != want {
			t.Errorf("IsObject(%q) = %t", text, got)
		}
	}
}

func TestMember(t *testing.T) {
	const obj = " { \"a\" : 1 , \"b\":{\"c\":2, \"d\":\"}\"}, \"k\\u0065y\\n\":[ ] ,\"a\": \"last\" , \"\":null } "
	for _, c := range []struct {
		obj, key, want string
		ok             bool
	}{
		{obj, "a", `"last"`, true},
		{obj, "b", `{"c":2, "d":"}"}`, true},
		{obj, "key\n", `[ ]`, true},
		{obj, "", `null`, true},
		{obj, "c", "", false},
		{obj, `k\u0065y\n`, "", false},
		{`{}`, "a", "", false},
		{`[{"a":1}]`, "a", "", false},
		{`"a"`, "a", "", false},
		{``, "a", "", false},
		{`{"a":`, "a", "", false},
		{`{"a\`, "a", "", false},
		{nestedObject(MaxDepth + 1), "a", nestedObject(MaxDepth), true},
		{nestedObject(20_000), "a", nestedObject(19_999), true},
	} {
		got, ok := Member([]byte(c.obj), c.key)
		if string(got) != c.want || ok != c.ok {
			t.Errorf("Member(%.60q, %q) = %.60q, %t, want %.60q, %t", c.obj, c.key, got, ok, c.want, c.ok)
		}
	}
	text := []byte(`{"a":1,"b":{"c":2}}`)
	if allocs := testing.AllocsPerRun(100, func() { Member(text, "b") }); allocs != 0 {
		t.Errorf("Member: %v allocations", allocs)
	}
}

func TestEachElement(t *testing.T) {
	for arr, want := range map[string]string{
		` [ 1 , "a,b" ,[2, 3],{"a": 4}, null ] `: `1;"a,b";[2, 3];{"a": 4};null;`, `[]`: ``, `{"a":1}`: ``, `1`: ``, ``: ``, `[1,`: `1;`,
	} {
		got := ""
		EachElement([]byte(arr), func(raw []byte) { got += string(raw) + ";" })
		if got != want {
			t.Errorf("EachElement(%s): %s, want %s", arr, got, want)
		}
	}
}

func TestEachMember(t *testing.T) {
	obj := []byte(`{"a":1,"b":[2, 3],"a":null,"\u0063":"c"}`)
	for _, c := range []struct {
		stopAfter int
		want      string
	}{
		{1, `a=1;`},
		{2, `a=1;b=[2, 3];`},
		{3, `a=1;b=[2, 3];a=null;`},
		{4, `a=1;b=[2, 3];a=null;c="c";`},
		{9, `a=1;b=[2, 3];a=null;c="c";`},
	} {
		got, n := "", 0
		EachMember(obj, func(key, raw []byte) bool {
			got += fmt.Sprintf("%s=%s;", key, raw)
			n++
			return n < c.stopAfter
		})
		if got != c.want {
			t.Errorf("stopping after %d: %s, want %s", c.stopAfter, got, c.want)
		}
	}
}
