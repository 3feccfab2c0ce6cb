package phx

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendUnquote appends the text of a JSON string literal, quotes included and
// nothing around them. An escape that is half a surrogate pair becomes U+FFFD,
// as in encoding/json; raw bytes are not checked to be UTF-8. If quoted is no
// string literal the error is [ErrNotJSON], and dst is returned as it was.
func AppendUnquote(dst, quoted []byte) ([]byte, error) {
	if len(quoted) == 0 || quoted[0] != '"' {
		return dst, ErrNotJSON
	}
	end, err := scanString(quoted, 0)
	if err != nil {
		return dst, err
	}
	if end < len(quoted) {
		return dst, ErrNotJSON
	}
	return appendUnescaped(dst, quoted[1:end-1]), nil
}

// appendUnescaped appends the text of a valid literal's inside.
func appendUnescaped(dst, body []byte) []byte {
	for {
		i := bytes.IndexByte(body, '\\')
		if i < 0 {
			return append(dst, body...)
		}
		dst = append(dst, body[:i]...)
		body = body[i:]
		n := 2
		switch c := body[1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			var r rune
			r, n = decodeUnicode(body)
			dst = utf8.AppendRune(dst, r)
		default: // quote, backslash, slash
			dst = append(dst, c)
		}
		body = body[n:]
	}
}

// decodeUnicode returns the character of the \uXXXX, or pair of them, that b
// begins with, and its length.
func decodeUnicode(b []byte) (rune, int) {
	r, _ := hex4(b[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		low, _ := hex4(b[8:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 returns the number that the first four bytes of b write in hexadecimal.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
