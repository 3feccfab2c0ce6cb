package nats

import (
	"fmt"
	"strings"
)

// EncodeHeader returns s as the value of a Phx-Event, Phx-Topic or Phx-Socket-Id header (docs/contract.md, "Headers"):
// as it is where it is printable ASCII, has no '=', and neither begins nor ends with a space, else with every byte
// except A-Z, a-z, 0-9, -, _ and the colon as =XX. NATS clients trim header values and turn line breaks into spaces,
// so what is not encoded would not arrive.
func EncodeHeader(s string) string {
	if isPlain(s) {
		return s
	}
	return string(appendEscaped(make([]byte, 0, 3*len(s)), s, colonRaw))
}

// DecodeHeader returns the string that a header value stands for. A value without '=' stands for itself and must be
// printable ASCII. One with '=' must be encoded throughout: upper-case hex, =XX for every byte that is not safe, and
// for no other. Any other value is an error, and the message that carries it a bad publish.
func DecodeHeader(v string) (string, error) {
	for i := 0; i < len(v); i++ {
		if !isPrintable(v[i]) {
			return "", fmt.Errorf("header value %q: byte %d is not printable ASCII", v, i)
		}
	}
	if strings.IndexByte(v, '=') < 0 {
		return v, nil
	}
	buf, at := appendUnescaped(make([]byte, 0, len(v)), v, colonRaw)
	if at >= 0 {
		return "", fmt.Errorf("header value %q: not its encoded form at byte %d", v, at)
	}
	return string(buf), nil
}

// isPlain reports whether a header can hold s as it is and be read back as s.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isPrintable(s[i]) || s[i] == '=' {
			return false
		}
	}
	return !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ")
}

// isPrintable reports whether c is printable ASCII, the space included.
func isPrintable(c byte) bool { return ' ' <= c && c <= '~' }
