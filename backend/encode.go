package backend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// encode returns a payload's bytes; nil is the empty object. A json.RawMessage goes out as it is.
func encode(payload any) (body []byte, binary bool, err error) {
	switch p := payload.(type) {
	case nil:
		return []byte("{}"), false, nil
	case Binary:
		return p, true, nil
	case json.RawMessage:
		if !utf8.Valid(p) || !json.Valid(p) {
			return nil, false, fmt.Errorf("%w: no JSON", ErrInvalidPayload)
		}
		return p, false, nil
	}
	if body, err = json.Marshal(payload); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	}
	return body, false, nil
}

// encodeObject is encode for what must be a JSON object or bytes: the payloads of broadcasts and pushes.
func encodeObject(payload any) (body []byte, binary bool, err error) {
	body, binary, err = encode(payload)
	if err == nil && !binary && !isObject(body) {
		return nil, false, fmt.Errorf("%w: no object: %.40s", ErrInvalidPayload, body)
	}
	return body, binary, err
}

// encodeAssigns returns a JSON object in ASCII on one line, which a header can hold; nil for nil.
func encodeAssigns(assigns any) ([]byte, error) {
	if assigns == nil {
		return nil, nil
	}
	body, err := json.Marshal(assigns) // compact, whatever it is
	if err != nil {
		return nil, fmt.Errorf("assigns: %w", err)
	}
	if !isObject(body) {
		return nil, fmt.Errorf("assigns: no object: %.40s", body)
	}
	return toASCII(body), nil
}

func isObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

// toASCII writes the characters of JSON that are not ASCII, which stand in strings only, as \u escapes.
func toASCII(body []byte) []byte {
	var out []byte
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		switch {
		case r < utf8.RuneSelf:
			out = append(out, body[i])
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}
