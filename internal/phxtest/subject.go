package phxtest

import (
	"fmt"
	"strings"
)

// The encodings of docs/contract.md, "Topics and subjects", written from its
// text and apart from the gateway's own, so that a test compares two readings.

// TopicTokens is T(topic): the subject tokens of a Phoenix topic, one for
// each part between colons.
func TopicTokens(topic string) string {
	parts := strings.Split(topic, ":")
	for i, part := range parts {
		parts[i] = Token(part)
	}
	return strings.Join(parts, ".")
}

// Token is E(event) or I(id): any string as one subject token. The empty
// string is "=".
func Token(s string) string {
	if s == "" {
		return "="
	}
	return escape(s, false)
}

// HeaderValue is how Phx-Event, Phx-Topic and Phx-Socket-Id carry s: as it
// is, or escaped with its colons kept where s is not printable ASCII, holds a
// "=", or begins or ends with a space.
func HeaderValue(s string) string {
	plain := !strings.Contains(s, "=") && strings.TrimSpace(s) == s
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] <= '~'
	}
	if plain {
		return s
	}
	return escape(s, true)
}

// ParseHeaderValue reverses HeaderValue. It is strict: an escape in lower
// case, one for a byte that needs none, and a raw byte outside printable ASCII
// are errors.
func ParseHeaderValue(value string) (string, error) {
	if !strings.Contains(value, "=") {
		for i := 0; i < len(value); i++ {
			if value[i] < ' ' || value[i] > '~' {
				return "", fmt.Errorf("header value %q: not printable ASCII", value)
			}
		}
		return value, nil
	}
	var s []byte
	for i := 0; i < len(value); i++ {
		if value[i] != '=' {
			s = append(s, value[i])
			continue
		}
		var b byte
		if i+2 >= len(value) {
			return "", fmt.Errorf("header value %q: cut short", value)
		}
		if _, err := fmt.Sscanf(value[i+1:i+3], "%02X", &b); err != nil {
			return "", fmt.Errorf("header value %q: %w", value, err)
		}
		s = append(s, b)
		i += 2
	}
	if escape(string(s), true) != value {
		return "", fmt.Errorf("header value %q: not the only way to write it", value)
	}
	return string(s), nil
}

// escape writes every byte but A-Z a-z 0-9 - _ as =XX, and a colon too unless
// it is to be kept.
func escape(s string, keepColon bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', keepColon && c == ':':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
