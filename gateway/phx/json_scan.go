package phx

import (
	"encoding/binary"
	"math/bits"
)

// The scanner: one pass by recursive descent, strict RFC 8259. Each function
// takes the index of the first byte of what it reads and returns the index
// behind it; with an error, ErrNotJSON or ErrTooDeep, the index where the text
// ceased to be JSON. It does not look at UTF-8: outside of strings every byte
// beyond ASCII is an error anyway, inside of them callers check once for all.
//
// levels is the number of arrays and objects that may still be opened. With
// [AnyDepth] recursion goes some way and a loop does the rest.

func scanValue(b []byte, i, levels int) (int, error) {
	if i >= len(b) {
		return i, ErrNotJSON
	}
	switch b[i] {
	case '"':
		return scanString(b, i)
	case '{', '[':
		switch {
		case levels <= 0:
			return i, ErrTooDeep
		case levels == endOfRecursion:
			return scanDeep(b, i)
		case b[i] == '{':
			return scanObject(b, i, levels-1, nil)
		}
		return scanArray(b, i, levels-1, nil)
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	default:
		return scanNumber(b, i)
	}
}

// scanObject reads the object that opens at b[i]; its values may have the given
// levels. visit, unless nil, gets each member as it is read: the key's literal
// and the value. When it returns false scanning ends there, without an error.
func scanObject(b []byte, i, levels int, visit func(key, value []byte) bool) (int, error) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return i, ErrNotJSON
		}
		end, err := scanString(b, i)
		if err != nil {
			return end, err
		}
		key := b[i:end]
		i = skipSpace(b, end)
		if i >= len(b) || b[i] != ':' {
			return i, ErrNotJSON
		}
		i = skipSpace(b, i+1)
		end, err = scanValue(b, i, levels)
		if err != nil {
			return end, err
		}
		if visit != nil && !visit(key, b[i:end]) {
			return end, nil
		}
		i = skipSpace(b, end)
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == '}':
			return i + 1, nil
		default:
			return i, ErrNotJSON
		}
	}
}

// scanArray reads the array that opens at b[i]; its elements may have the given
// levels. visit, unless nil, gets each element as it is read.
func scanArray(b []byte, i, levels int, visit func(value []byte)) (int, error) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		end, err := scanValue(b, i, levels)
		if err != nil {
			return end, err
		}
		if visit != nil {
			visit(b[i:end])
		}
		i = skipSpace(b, end)
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == ']':
			return i + 1, nil
		default:
			return i, ErrNotJSON
		}
	}
}

// scanString reads the string that opens at b[i].
func scanString(b []byte, i int) (int, error) {
	for i = plainEnd(b, i+1); i < len(b); i = plainEnd(b, i) {
		switch b[i] {
		case '"':
			return i + 1, nil
		case '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return i, ErrNotJSON
			}
			i += n
		default: // a control character
			return i, ErrNotJSON
		}
	}
	return i, ErrNotJSON
}

// plainEnd returns the index of the first byte from b[i] on that does not stand
// for itself in a string: quote, backslash, control character; len(b) if there
// is none. It takes eight bytes at a time: x-ones&^x&highs is not zero if x has
// a zero byte, and its lowest bit then marks the first one; likewise, with more
// than ones subtracted, a byte below that.
func plainEnd(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^ones*'"', w^ones*'\\'
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

// escapeLen returns the length of the escape that b begins with, 0 if it is
// none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

// scanNumber reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func scanNumber(b []byte, i int) (int, error) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	i = skipDigits(b, i)
	if i == start {
		return i, ErrNotJSON
	}
	if b[start] == '0' && i > start+1 {
		return start + 1, ErrNotJSON
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = skipDigits(b, start); i == start {
			return i, ErrNotJSON
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = skipDigits(b, start); i == start {
			return i, ErrNotJSON
		}
	}
	return i, nil
}

func scanLiteral(b []byte, i int, literal string) (int, error) {
	if len(b)-i < len(literal) || string(b[i:i+len(literal)]) != literal {
		return i, ErrNotJSON
	}
	return i + len(literal), nil
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t'
}
