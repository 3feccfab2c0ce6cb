package phx

import (
	"encoding/json"
	"testing"
)

func TestAppendQuote(t *testing.T) {
	for _, c := range []struct{ text, raw, ascii string }{
		{"", `""`, `""`},
		{"room:1", `"room:1"`, `"room:1"`},
		{"a\"b\\c/d", `"a\"b\\c/d"`, `"a\"b\\c/d"`},
		{"\b\t\n\f\r", `"\b\t\n\f\r"`, `"\b\t\n\f\r"`},
		{"\x00\x0b\x1f ", `"\u0000\u000b\u001f "`, `"\u0000\u000b\u001f "`},
		{"~\x7f\u0080", "\"~\x7f\u0080\"", `"~\u007f\u0080"`},
		{"<&>\u2028", "\"<&>\u2028\"", `"<&>\u2028"`},
		{"żółw", `"żółw"`, `"\u017c\u00f3\u0142w"`},
		{"\uffff🦆", "\"\uffff🦆\"", `"\uffff\ud83e\udd86"`},
		{"\ufffd", "\"\ufffd\"", `"\ufffd"`},
		{"a\xff\xfeb\xf0\x9f", "\"a\ufffd\ufffdb\ufffd\ufffd\"", `"a\ufffd\ufffdb\ufffd\ufffd"`},
		{"\xed\xa0\x80", "\"\ufffd\ufffd\ufffd\"", `"\ufffd\ufffd\ufffd"`},
	} {
		if got := string(AppendQuote([]byte("+"), c.text)); got != "+"+c.raw {
			t.Errorf("AppendQuote(%q) = %s, want %s", c.text, got, c.raw)
		}
		if got := string(AppendQuoteASCII([]byte("+"), c.text)); got != "+"+c.ascii {
			t.Errorf("AppendQuoteASCII(%q) = %s, want %s", c.text, got, c.ascii)
		}
	}
}

func TestAppendUnquote(t *testing.T) {
	for _, c := range []struct{ quoted, want string }{
		{`""`, ""},
		{`"żółw"`, "żółw"},
		{`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t"},
		{`"a\u0000\u017C\u017c"`, "a\x00żż"},
		{`"\ud83e\udd86"`, "🦆"},
		{`"\ud83e"`, "\ufffd"},
		{`"\ud83ex"`, "\ufffdx"},
		{`"\udd86\ud83e"`, "\ufffd\ufffd"},
		{`"\ud83e\n"`, "\ufffd\n"},
		{`"\ud83e\u0041"`, "\ufffdA"},
		{`"\ud83e\ud83e\udd86"`, "\ufffd🦆"},
		{`"\ufffd"`, "\ufffd"},
	} {
		got, err := AppendUnquote([]byte("+"), []byte(c.quoted))
		if err != nil || string(got) != "+"+c.want {
			t.Errorf("AppendUnquote(%s) = %q, %v, want %q", c.quoted, got, err, c.want)
		}
		var std string
		if err := json.Unmarshal([]byte(c.quoted), &std); err != nil || std != c.want {
			t.Errorf("encoding/json reads %s as %q, %v", c.quoted, std, err)
		}
	}
	for _, bad := range []string{``, `"`, `a`, `a"`, `"a`, `"a"b`, `"a" `, ` "a"`, `"\"`, `"\x"`, `"\u00"`, "\"\n\"", `1`, `null`} {
		if got, err := AppendUnquote([]byte("+"), []byte(bad)); err != ErrNotJSON || string(got) != "+" {
			t.Errorf("AppendUnquote(%q) = %q, %v, want ErrNotJSON and dst as it was", bad, got, err)
		}
	}
}

func TestAppendASCII(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{`{}`, `{}`},
		{" {\n\t\"a b\" : [ 1 , -2.50e+1 ] }\r\n", `{"a b":[1,-2.50e+1]}`},
		{`{"ż":"🦆","z":1,"a":"\u00e9\\\" \/"}`, `{"\u017c":"\ud83e\udd86","z":1,"a":"\u00e9\\\" \/"}`},
		{"\"\x7f\\\\\"", `"\u007f\\"`},
		{`["\\", " x "]`, `["\\"," x "]`},
		{`["\"", " x "]`, `["\""," x "]`},
		{"\"\xff\"", `"\ufffd"`},
		{`  null`, `null`},
		{``, ``},
		{`"\`, `"\`},
	} {
		if got := string(AppendASCII([]byte("+"), []byte(c.raw))); got != "+"+c.want {
			t.Errorf("AppendASCII(%q) = %s, want %s", c.raw, got, c.want)
		}
	}
}
