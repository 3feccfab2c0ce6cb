package wire

import (
	"strings"
	"unicode/utf8"
)

// Limits of "Topics and subjects", in bytes but for the parts.
const (
	maxTopic      = 255
	maxTopicParts = 16
	maxName       = 255 // of an event name, a socket id or a channel id
)

// ValidTopic reports whether a client could join topic: 1 to 255 bytes of UTF-8 in at most 16 parts between colons.
func ValidTopic(topic string) bool {
	return ValidName(topic) && len(topic) <= maxTopic && strings.Count(topic, ":") < maxTopicParts
}

// ValidName reports whether s can be an event name or a socket id: 1 to 255 bytes of UTF-8.
func ValidName(s string) bool { return s != "" && len(s) <= maxName && utf8.ValidString(s) }

// ValidChannel reports whether id is a channel id: three tokens of safe bytes, together at most 255 bytes.
func ValidChannel(id string) bool {
	if len(id) > maxName || strings.Count(id, ".") != 2 {
		return false
	}
	for token := range strings.SplitSeq(id, ".") {
		if token == "" {
			return false
		}
		for i := 0; i < len(token); i++ {
			if !isSafe(token[i]) {
				return false
			}
		}
	}
	return true
}

// Topic returns T(topic): its parts between colons, each a token, joined by dots.
func Topic(topic string) string {
	dst := make([]byte, 0, len(topic)+8)
	for i, part := range strings.Split(topic, ":") {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = appendToken(dst, part)
	}
	return string(dst)
}

// ParseTopic is the inverse of Topic; ok is false for tokens that no valid topic has.
func ParseTopic(tokens string) (topic string, ok bool) {
	dst := make([]byte, 0, len(tokens))
	for i, token := range strings.Split(tokens, ".") {
		if i > 0 {
			dst = append(dst, ':')
		}
		if dst, ok = appendUntoken(dst, token, colonNever); !ok {
			return "", false
		}
	}
	return string(dst), ValidTopic(string(dst))
}

// Token returns E(event) or I(id).
func Token(s string) string { return string(appendToken(nil, s)) }

// ParseToken is the inverse of Token; ok is false for a token that no valid name has.
func ParseToken(token string) (s string, ok bool) {
	dst, ok := appendUntoken(nil, token, colonEscaped)
	return string(dst), ok && ValidName(string(dst))
}

func appendToken(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '=')
	}
	return appendEscaped(dst, s, colonEscaped)
}

func appendUntoken(dst []byte, token string, colon colonForm) (_ []byte, ok bool) {
	switch token {
	case "=":
		return dst, true
	case "":
		return nil, false
	}
	return appendUnescaped(dst, token, colon)
}

// Header returns s as the value of a Phx-Event, Phx-Topic or Phx-Socket-Id header.
func Header(s string) string {
	plain := !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ")
	for i := 0; i < len(s) && plain; i++ {
		plain = isPrintable(s[i]) && s[i] != '='
	}
	if plain {
		return s
	}
	return string(appendEscaped(make([]byte, 0, 3*len(s)), s, colonRaw))
}

// ParseHeader returns the string that a header value stands for; ok is false for a value that is not printable ASCII, or has a '=' and is not encoded throughout.
func ParseHeader(value string) (s string, ok bool) {
	for i := 0; i < len(value); i++ {
		if !isPrintable(value[i]) {
			return "", false
		}
	}
	if strings.IndexByte(value, '=') < 0 {
		return value, true
	}
	dst, ok := appendUnescaped(make([]byte, 0, len(value)), value, colonRaw)
	return string(dst), ok
}

// ValidPrefix reports whether all subjects of a fleet can begin with prefix: tokens of safe bytes, at most 64 bytes, and not NATS's own.
func ValidPrefix(prefix string) bool {
	if len(prefix) > 64 || strings.HasPrefix(prefix, "_INBOX") {
		return false
	}
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" {
			return false
		}
		for i := 0; i < len(token); i++ {
			if !isSafe(token[i]) {
				return false
			}
		}
	}
	return true
}
