package etf

import (
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/phxgate/phxgate/gateway/phx"
)

// AppendJSON appends a term of [Decode] as JSON to dst:
//
//	integers, floats     numbers, integers with all their digits
//	binaries             strings; not UTF-8: an error
//	nil, true, false     null, true, false; other atoms: strings
//	lists, tuples        arrays; a charlist is a list of numbers
//	maps                 objects. Keys may be binaries, atoms and integers; another, or two that are the same text, are an error
func AppendJSON(dst []byte, term any) ([]byte, error) {
	switch term := term.(type) {
	case int64:
		return strconv.AppendInt(dst, term, 10), nil
	case *big.Int:
		return term.Append(dst, 10), nil
	case float64:
		return strconv.AppendFloat(dst, term, 'g', -1, 64), nil
	case string:
		if !utf8.ValidString(term) {
			return dst, bad("a binary is not UTF-8")
		}
		return phx.AppendQuote(dst, term), nil
	case Atom:
		switch term {
		case "nil":
			return append(dst, "null"...), nil
		case "true", "false":
			return append(dst, term...), nil
		}
		return phx.AppendQuote(dst, string(term)), nil
	case Tuple:
		return appendArray(dst, term)
	case List:
		return appendArray(dst, term)
	case Map:
		return appendObject(dst, term)
	}
	return dst, bad("not one of Decode's")
}

func appendArray(dst []byte, terms []any) ([]byte, error) {
	dst = append(dst, '[')
	for i, term := range terms {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = AppendJSON(dst, term); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendObject(dst []byte, pairs Map) ([]byte, error) {
	seen := make(map[string]bool, len(pairs))
	dst = append(dst, '{')
	for i, p := range pairs {
		name, ok := KeyText(p.Key)
		switch {
		case !ok:
			return dst, bad("a map's key is neither a binary of UTF-8 nor an atom nor an integer")
		case seen[name]:
			return dst, bad("two keys of a map are the same text")
		}
		seen[name] = true
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(phx.AppendQuote(dst, name), ':')
		var err error
		if dst, err = AppendJSON(dst, p.Value); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// KeyText is what a map's key is called in JSON; ok is false for one that has no name there.
func KeyText(key any) (name string, ok bool) {
	switch key := key.(type) {
	case string:
		return key, utf8.ValidString(key)
	case Atom:
		return string(key), true
	case int64:
		return strconv.FormatInt(key, 10), true
	case *big.Int:
		return key.String(), true
	}
	return "", false
}
