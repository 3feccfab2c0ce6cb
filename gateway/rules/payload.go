package rules

import "github.com/phxgate/phxgate/gateway/phx"

// AppendPayload appends payload, a valid JSON object, with the keys of set written over it: first the members whose
// unescaped key is not in set, as the bytes that came, then each key of set with its value, or with null where that is
// not there. No member of a set key is left, duplicates and escaped spellings included: a client could speak for
// another through it. The JSON in env must be valid too.
func AppendPayload(dst, payload []byte, set []Assignment, env Env) []byte {
	if len(set) == 0 {
		return append(dst, payload...)
	}
	dst = append(dst, '{')
	first := true
	comma := func() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
	}
	at := 0 // behind the last member
	phx.EachMember(payload, func(key, raw []byte) bool {
		var member []byte
		member, at = memberText(payload, at, len(raw))
		if !sets(set, key) {
			comma()
			dst = append(dst, member...)
		}
		return true
	})
	for _, a := range set {
		comma()
		dst = append(phx.AppendQuote(dst, a.Key), ':')
		if raw, ok := a.Source.Lookup(env); ok {
			dst = append(dst, raw...)
		} else {
			dst = append(dst, "null"...)
		}
	}
	return append(dst, '}')
}

// sets reports whether set has an assignment to key.
func sets(set []Assignment, key []byte) bool {
	for _, a := range set {
		if a.Key == string(key) {
			return true
		}
	}
	return false
}

// memberText returns the first member of obj, a valid object, from index at on, which is no part of a member, and the
// index behind it. The member's value has valueLen bytes. The text is cut out here because EachMember gives keys
// unescaped, and a payload goes out with the escapes it came with.
func memberText(obj []byte, at, valueLen int) (member []byte, end int) {
	for obj[at] != '"' { // the opening brace, a comma, whitespace
		at++
	}
	end = at + 1
	for obj[end] != '"' {
		if obj[end] == '\\' {
			end++
		}
		end++
	}
	end++
	for isBeforeValue(obj[end]) {
		end++
	}
	end += valueLen
	return obj[at:end], end
}

// isBeforeValue reports whether c may stand between a key and its value.
func isBeforeValue(c byte) bool {
	return c == ':' || c == ' ' || c == '\t' || c == '\n' || c == '\r'
}
