package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/phxgate/phxgate/gateway/phx"
)

// ErrNonsense is wrapped by every error about a reply that makes no sense; the text says which member and why, and holds
// nothing of the reply itself. To the client it is the same as no reply: 503 for a connect, "authorization unavailable"
// for a join.
var ErrNonsense = errors.New("authz reply makes no sense")

// maxUnixSeconds is the end of the year 9999, the last that RFC 3339 can write. A larger expires_at is in all likelihood
// in milliseconds, and would keep for ever what was meant to end today.
const maxUnixSeconds = 253402300799

// nonsense is ErrNonsense with what is wrong.
func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrNonsense}, args...)...)
}

// pickFields sets *fields[name] to the raw value of each top-level member of obj so named; members of other names are
// ignored, so that the contract can grow. obj is a JSON object that was checked. Of two members of one name JSON readers
// disagree which holds, hence such a reply is nonsense.
func pickFields(obj []byte, fields map[string]*[]byte) (err error) {
	phx.EachMember(obj, func(key, raw []byte) bool {
		value, known := fields[string(key)]
		if !known {
			return true
		}
		if *value != nil {
			err = nonsense("two members %s", key)
			return false
		}
		*value = raw
		return true
	})
	return err
}

// isAbsent reports whether an optional member is missing or null.
func isAbsent(raw []byte) bool { return raw == nil || string(raw) == "null" }

// errLoneSurrogate means that a JSON string escapes half of a surrogate pair, which no UTF-8 can say.
var errLoneSurrogate = errors.New("half of a surrogate pair")

// parseString decodes a JSON string whose JSON was checked.
func parseString(raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", errors.New("not a string")
	}
	if hasLoneSurrogate(raw) {
		return "", errLoneSurrogate
	}
	s, err := phx.AppendUnquote(nil, raw)
	if err != nil {
		return "", err
	}
	return string(s), nil
}

// hasLoneSurrogate reports whether the JSON string raw has a \uD800–\uDFFF escape that is not one of a pair. Decoders
// put U+FFFD there, which would make one id of many.
func hasLoneSurrogate(raw []byte) bool {
	for i := bytes.IndexByte(raw, '\\'); i >= 0 && i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // what is escaped; a valid string has it
		unit, ok := parseUTF16Escape(raw, i)
		if !ok || unit < 0xD800 || unit > 0xDFFF {
			continue
		}
		low, ok := parseUTF16Escape(raw, i+6)
		if unit >= 0xDC00 || !ok || raw[i+5] != '\\' || low < 0xDC00 || low > 0xDFFF {
			return true
		}
		i += 10
	}
	return false
}

// parseUTF16Escape reads the code unit of a \uXXXX escape whose 'u' stands at raw[i].
func parseUTF16Escape(raw []byte, i int) (unit uint64, ok bool) {
	if i+5 > len(raw) || raw[i] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
	return unit, err == nil
}

// parseObject returns an optional object member, nil if absent.
func parseObject(name string, raw []byte) (json.RawMessage, error) {
	if isAbsent(raw) {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, nonsense("%s is not an object", name)
	}
	return raw, nil
}

// parseExpiresAt returns an optional expires_at in whole unix seconds, fractions cut off, 0 if absent. A moment within
// the first second of 1970 is given as 1, because 0 says that there is none; it is as long past.
func parseExpiresAt(raw []byte) (int64, error) {
	if isAbsent(raw) {
		return 0, nil
	}
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, nonsense("expires_at is not a number")
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case seconds < 0:
		return 0, nonsense("expires_at is negative")
	case err != nil, seconds > maxUnixSeconds:
		return 0, nonsense("expires_at is beyond the year 9999; it is in seconds")
	}
	return max(1, int64(seconds)), nil
}
