package phx

import "strings"

// Ref is a ref or join_ref exactly as a client sent it, as JSON text: `"3"`,
// `12`; "" is null. Clients may send any JSON value and get it back with its
// type, and comparison is strict, 1 ≠ "1" (Phoenix 1.8 socket.ex). The text is
// canonical for strings: written with minimal escapes, so that equal strings
// are equal Refs however they were escaped. Other values keep their text.
//
// Copy one out of a [Message] with Ref(m.Ref).
type Ref string

// StringRef returns the Ref that is the string s. StringRef("") is the empty
// string `""`, not null. Bytes of s that are not UTF-8 become U+FFFD.
func StringRef(s string) Ref {
	return Ref(AppendQuote(make([]byte, 0, len(s)+2), s))
}

// Or returns r, or other if r is null. A channel tags what it sends with its
// join's join_ref.Or(ref) (Phoenix 1.8 channel/server.ex, join/4).
func (r Ref) Or(other Ref) Ref {
	if r == "" {
		return other
	}
	return r
}

// Text returns the decoded string and true if r is a JSON string, else "" and
// false.
func (r Ref) Text() (string, bool) {
	if len(r) < 2 || r[0] != '"' {
		return "", false
	}
	if strings.IndexByte(string(r), '\\') < 0 {
		return string(r[1 : len(r)-1]), true
	}
	text, err := AppendUnquote(nil, []byte(r))
	if err != nil {
		return "", false
	}
	return string(text), true
}

// append writes r as JSON.
func (r Ref) append(dst []byte) []byte {
	return append(dst, r.Or("null")...)
}
