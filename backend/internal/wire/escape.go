// Package wire writes and reads the names of docs/contract.md as NATS carries them: topics, events and ids as subject tokens ("Topics and subjects"), and names as
// header values ("Headers"). What it reads it reads strictly: a name has exactly one form, and every other is an error.
package wire

import "strings"

// colonForm says how an escaped string holds a colon, the one byte whose form depends on the place.
type colonForm uint8

const (
	colonEscaped colonForm = iota // =3A: event names and ids
	colonRaw                      // as it is: header values
	colonNever                    // not at all: the parts of a topic
)

const upperHex = "0123456789ABCDEF"

// appendEscaped appends s by rule 2 of "Topics and subjects".
func appendEscaped(dst []byte, s string, colon colonForm) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; isSafe(c) || c == ':' && colon == colonRaw {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// appendUnescaped is the inverse of appendEscaped; ok is false for what appendEscaped would not have written.
func appendUnescaped(dst []byte, s string, colon colonForm) (_ []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isSafe(c) || c == ':' && colon == colonRaw {
			dst = append(dst, c)
			continue
		}
		if c != '=' || len(s)-i < 3 {
			return nil, false
		}
		high, low := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		if high < 0 || low < 0 {
			return nil, false
		}
		c = byte(high<<4 | low)
		if isSafe(c) || c == ':' && colon != colonEscaped {
			return nil, false
		}
		dst = append(dst, c)
		i += 2
	}
	return dst, true
}

// isSafe reports whether a byte stands for itself in a subject token.
func isSafe(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// isPrintable reports whether c is printable ASCII, the space included.
func isPrintable(c byte) bool { return ' ' <= c && c <= '~' }
