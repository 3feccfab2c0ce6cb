package etf

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// Bytes of each tag, by the format's description, and what they are in JSON. What term_to_binary writes today is in ../testdata, made by Elixir.
func TestTerms(t *testing.T) {
	for _, test := range []struct{ term, json string }{
		{"a\xff", "255"},
		{"b\x80\x00\x00\x00", "-2147483648"},
		{"n\x00\x00", "0"},
		{"n\x01\x01\x05", "-5"},
		{"n\x08\x00\xff\xff\xff\xff\xff\xff\xff\x7f", "9223372036854775807"},
		{"n\x08\x01\x00\x00\x00\x00\x00\x00\x00\x80", "-9223372036854775808"},
		{"n\x08\x00\x00\x00\x00\x00\x00\x00\x00\x80", "9223372036854775808"},
		{"F\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5"},
		{"F\x80\x00\x00\x00\x00\x00\x00\x00", "-0"},
		{"F\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e+308"},
		{"d\x00\x03nil", "null"},
		{"s\x04true", "true"},
		{"w\x05false", "false"},
		{"s\x01\xe9", `"é"`},
		{"d\x00\x01\xe9", `"é"`},
		{"w\x02é", `"é"`},
		{"v\x00\x03日", `"日"`},
		{"w\x00", `""`},
		{"m\x00\x00\x00\x00", `""`},
		{"m\x00\x00\x00\x03a\"b", `"a\"b"`},
		{"j", "[]"},
		{"k\x00\x02\x00\xff", "[0,255]"},
		{"l\x00\x00\x00\x02a\x01w\x01aj", `[1,"a"]`},
		{"l\x00\x00\x00\x00j", `[]`},
		{"h\x00", "[]"},
		{"h\x02a\x01j", "[1,[]]"},
		{"i\x00\x00\x00\x01j", "[[]]"},
		{"t\x00\x00\x00\x00", "{}"},
		{"t\x00\x00\x00\x04w\x01aa\x01m\x00\x00\x00\x01ba\x02a\x07jn\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01h\x00", `{"a":1,"b":2,"7":[],"-18446744073709551616":[]}`},
	} {
		term, err := Decode([]byte("\x83" + test.term))
		if err != nil {
			t.Errorf("%q: %v", test.term, err)
			continue
		}
		if got, err := AppendJSON([]byte("x"), term); err != nil || string(got) != "x"+test.json {
			t.Errorf("%q: %s, %v, want %s", test.term, got, err, test.json)
		}
		// Of a term that is cut anywhere nothing is made, nor of one with more behind it.
		for cut := range len(test.term) {
			if _, err := Decode([]byte("\x83" + test.term[:cut])); !errors.Is(err, ErrTerm) {
				t.Errorf("%q: %v", test.term[:cut], err)
			}
		}
		if _, err := Decode([]byte("\x83" + test.term + "j")); !errors.Is(err, ErrTerm) {
			t.Errorf("%q and more: %v", test.term, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for term, reason := range map[string]string{
		"":                                            "version",
		"\x82j":                                       "version",
		"\x83":                                        "too early",
		"\x83P\x00\x00\x00\x01x\x9c\x03":              "not data", // compressed
		"\x83o\x00\x00\x00\x01\x00\x01":               "not data", // large big
		"\x83M\x00\x00\x00\x01\x05\xa0":               "not data", // bit string
		"\x83c1.5":                                    "not data", // float as text
		"\x83\x52\x00":                                "not data", // atom cache
		"\x83gw\x01aa\x00":                            "not data",
		"\x83n\x01\x02\x05":                           "sign",
		"\x83F\x7f\xf0\x00\x00\x00\x00\x00\x00":       "finite",
		"\x83F\x7f\xf8\x00\x00\x00\x00\x00\x00":       "finite",
		"\x83w\x01\xe9":                               "UTF-8",
		"\x83l\x00\x00\x00\x01a\x01a\x02":             "improper",
		"\x83m\xff\xff\xff\xffa":                      "too early",
		"\x83l\xff\xff\xff\xffj":                      "too early",
		"\x83i\xff\xff\xff\xffj":                      "too early",
		"\x83t\x00\x00\x00\x02jjj":                    "too early",
		"\x83m\x00\x00\x00\x01\xff":                   "not UTF-8",
		"\x83t\x00\x00\x00\x01m\x00\x00\x00\x01\xffj": "key is neither",
		"\x83t\x00\x00\x00\x01jj":                     "key is neither",
		"\x83t\x00\x00\x00\x02w\x01aja\x01j":          "",
		"\x83t\x00\x00\x00\x02w\x011ja\x01j":          "same text",
		"\x83t\x00\x00\x00\x02w\x01ajw\x01aj":         "same text",
	} {
		value, err := Decode([]byte(term))
		if err == nil {
			_, err = AppendJSON(nil, value)
		}
		if reason == "" && err != nil || reason != "" && (!errors.Is(err, ErrTerm) || !strings.Contains(err.Error(), reason)) {
			t.Errorf("%q: %v, want %q", term, err, reason)
		}
	}
	for depth, fits := range map[int]bool{MaxDepth: true, MaxDepth + 1: false} {
		if _, err := Decode([]byte("\x83" + strings.Repeat("h\x01", depth) + "j")); (err == nil) != fits {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

// The worst that bytes of each kind cost in memory, as the package says.
func TestMemory(t *testing.T) {
	const size = 1 << 16
	for _, fill := range []string{"j", "h\x00", "a\x01", "w\x00", "m\x00\x00\x00\x00", "k\x00\x00", "n\x00\x00", "n\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff", "h\x01j", "t\x00\x00\x00\x01jj"} {
		n := size / len(fill)
		data := []byte("\x83i" + string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + strings.Repeat(fill, n))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		term, err := Decode(data)
		runtime.ReadMemStats(&after)
		if per := (after.TotalAlloc - before.TotalAlloc) / uint64(len(data)); err != nil || per > 50 {
			t.Errorf("%q: %d bytes for each, %v", fill, per, err)
		}
		runtime.KeepAlive(term)
	}
}

// Nothing makes it panic; what it reads and can say is JSON.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"\x83t\x00\x00\x00\x01w\x01aa\x01", "\x83l\x00\x00\x00\x01F\x3f\xf8\x00\x00\x00\x00\x00\x00j", "\x83h\x03d\x00\x01\xe9n\x02\x01\x01\x02k\x00\x01a", "\x83i\x00\x00\x00\x01b\x00\x00\x00\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		term, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrTerm) {
				t.Error(err)
			}
			return
		}
		text, err := AppendJSON(nil, term)
		if err == nil && !json.Valid(text) || err != nil && !errors.Is(err, ErrTerm) {
			t.Errorf("%q, %v", text, err)
		}
	})
}
