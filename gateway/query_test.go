package gateway

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestParseQuery holds the rules of Plug.Conn.Query, which is what Phoenix reads params with.
func TestParseQuery(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"", `{}`},
		{"&&", `{}`},
		{"a=1", `{"a":"1"}`},
		{"a=1&b=2", `{"a":"1","b":"2"}`},
		{"b=2&a=1", `{"b":"2","a":"1"}`},
		{"a=1&a=2", `{"a":"2"}`},
		{"a", `{"a":""}`},
		{"a=", `{"a":""}`},
		{"=1", `{"":"1"}`},
		{"a=b=c", `{"a":"b=c"}`},
		{"a+b=c+d", `{"a b":"c d"}`},
		{"a=%2B%26%3D", `{"a":"+&="}`},
		{"a=%C3%A9", `{"a":"é"}`},
		{"a=%zz", `{"a":"%zz"}`},
		{"a=%", `{"a":"%"}`},
		{"a=%4", `{"a":"%4"}`},
		{"a=%zz+%41", `{"a":"%zz A"}`},
		{"a[b]=1", `{"a":{"b":"1"}}`},
		{"a%5Bb%5D=1", `{"a":{"b":"1"}}`},
		{"a[b]=1&a[c]=2", `{"a":{"b":"1","c":"2"}}`},
		{"a[b][c][d]=1", `{"a":{"b":{"c":{"d":"1"}}}}`},
		{"a[]=1&a[]=2", `{"a":["1","2"]}`},
		{"a[b][]=1&a[b][]=2", `{"a":{"b":["1","2"]}}`},
		{"a=1&a[b]=2", `{"a":{"b":"2"}}`},
		{"a[b]=1&a=2", `{"a":"2"}`},
		{"a[b]=1&a[]=2", `{"a":["2"]}`},
		{"a[]=1&a[b]=2", `{"a":{"b":"2"}}`},
		{"a[]=1&a[b]=2&a[c]=3", `{"a":{"b":"2","c":"3"}}`},
		{"a[b=1", `{"a[b":"1"}`},
		{"a]=1", `{"a]":"1"}`},
		{`a="\`, `{"a":"\"\\"}`},
		{"a=%00", `{"a":"\u0000"}`},
		{"token=x&vsn=2.0.0&token=y", `{"token":"y","vsn":"2.0.0"}`},
	} {
		p, err := parseQuery(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		wantSameJSON(t, c.query, p.appendJSON(nil), c.want)
	}
}

func wantSameJSON(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%s: %q: %v", what, got, err)
	} else if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	} else if !reflect.DeepEqual(g, w) {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestParseQueryRefuses(t *testing.T) {
	deep := func(n int) string { return "a" + strings.Repeat("[b]", n-1) + "=1" }
	many := func(n int) string { return strings.Repeat("a=1&", n) }
	for _, c := range []struct {
		name, query string
		want        error
	}{
		{"value not UTF-8", "a=%ff", errQueryUTF8},
		{"key not UTF-8", "%c3=1", errQueryUTF8},
		{"raw bytes", "a=\xff", errQueryUTF8},
		{"half a character before a bad escape", "a=%c3%zz", errQueryUTF8},
		{"1,000 parameters", many(maxParams), nil},
		{"1,001 parameters", many(maxParams + 1), errQueryMany},
		{"32 levels", deep(maxParamDepth), nil},
		{"33 levels", deep(maxParamDepth + 1), errQueryMany},
	} {
		if _, err := parseQuery(c.query); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestParamTake(t *testing.T) {
	p, err := parseQuery("a=1&vsn=2.0.0&b[c]=2")
	if err != nil {
		t.Fatal(err)
	}
	if v := p.take("vsn"); v == nil || !v.isText() || v.text != "2.0.0" {
		t.Errorf("vsn is %+v", v)
	}
	if p.take("vsn") != nil || p.take("c") != nil {
		t.Error("taken twice, or from inside")
	}
	if got := string(p.appendJSON(nil)); got != `{"a":"1","b":{"c":"2"}}` {
		t.Errorf("left: %s", got)
	}
	if text, ok := p.stringOf("a"); text != "1" || !ok {
		t.Errorf("a is %q, %v", text, ok)
	}
	if _, ok := p.stringOf("b"); ok {
		t.Error("a map is taken for text")
	}
}

// FuzzParseQuery wants valid JSON of whatever is a query, and plain pairs back as they were.
func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"a=1&b[]=2&b[]=3", "a[b][c]=%zz&a=+", "a[]=1&a[b]=2&a[c]=3&a[]=4", "[=1&]=2&[]=3&[a]=4", "%ff", "a[[b]]=1", "a[]][[]=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p, err := parseQuery(query)
		if err != nil {
			return
		}
		dst := p.appendJSON([]byte("x"))
		if dst[0] != 'x' || dst[1] != '{' || !json.Valid(dst[1:]) {
			t.Fatalf("%q: %q is no JSON object", query, dst[1:])
		}
		var m map[string]any
		if err := json.Unmarshal(dst[1:], &m); err != nil {
			t.Fatal(err)
		}
		if len(m) != len(p.keys) || len(p.keys) != len(p.vals) {
			t.Fatalf("%q: %d keys in order, %d values, %d in %s", query, len(p.keys), len(p.vals), len(m), dst[1:])
		}
		for _, k := range p.keys {
			if text, ok := p.stringOf(k); ok && m[k] != text {
				t.Errorf("%q: %q is %q, in JSON %v", query, k, text, m[k])
			}
		}
	})
}
