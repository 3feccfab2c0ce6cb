package phx

import (
	"unicode/utf16"
	"unicode/utf8"
)

// AppendQuote appends s as a JSON string with no more escapes than RFC 8259 §7
// demands; everything beyond ASCII stays raw UTF-8. A byte that is not UTF-8
// becomes U+FFFD.
func AppendQuote(dst []byte, s string) []byte {
	return appendQuote(dst, s, false)
}

// AppendQuoteASCII is [AppendQuote] with everything outside printable ASCII
// written as \uXXXX, characters beyond the BMP as a surrogate pair.
func AppendQuoteASCII(dst []byte, s string) []byte {
	return appendQuote(dst, s, true)
}

// AppendASCII appends the valid JSON text raw, rewritten to hold only printable
// ASCII, as a message header can carry it: other characters, which can only stand
// in strings, as \uXXXX, whitespace outside of strings left out. Numbers, key
// order and escapes stay as they are. A byte that is not UTF-8 becomes \ufffd.
func AppendASCII(dst, raw []byte) []byte {
	inString := false
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(raw[i:])
			dst = appendEscape(dst, r)
			i += size
			continue
		case c == 0x7f:
			dst = appendEscape(dst, rune(c))
		case c == '\\' && i+1 < len(raw) && (raw[i+1] == '"' || raw[i+1] == '\\'):
			// The two escapes that could be taken for the end of a string or
			// the begin of another escape.
			dst = append(dst, c, raw[i+1])
			i++
		case c <= ' ' && (c < ' ' || !inString):
			// In valid JSON this is whitespace between tokens.
		default:
			if c == '"' {
				inString = !inString
			}
			dst = append(dst, c)
		}
		i++
	}
	return dst
}

// appendQuote appends s as a JSON string; ascii as in AppendQuoteASCII.
func appendQuote[T string | []byte](dst []byte, s T, ascii bool) []byte {
	dst = append(dst, '"')
	start := 0 // s[:start] is written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < 0x7f {
			i++
			continue
		}
		size := 1
		r := rune(c)
		if c >= utf8.RuneSelf {
			// The conversion is of at most four bytes and does not allocate.
			r, size = utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		}
		if c >= 0x7f && !ascii && r != utf8.RuneError {
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		i += size
		start = i
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= utf8.RuneSelf && !ascii:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		default:
			dst = appendEscape(dst, r)
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscape appends r as a two-character escape, where there is one, or as
// one or two of \uXXXX.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '\b':
		return append(dst, `\b`...)
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\f':
		return append(dst, `\f`...)
	case '\r':
		return append(dst, `\r`...)
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return appendHex4(appendHex4(dst, high), low)
	}
	return appendHex4(dst, r)
}

// appendHex4 appends r, which is below 0x10000, as \uXXXX.
func appendHex4(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
}
