package phx

import (
	"errors"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects deep a payload may be that goes to
// many: `[]` has one level. The envelope around a payload is not counted.
const MaxDepth = 1000

// Why a text is not the JSON it should be.
var (
	ErrNotUTF8   = errors.New("not UTF-8")
	ErrNotJSON   = errors.New("not JSON")
	ErrNotObject = errors.New("not a JSON object")
	ErrTooDeep   = errors.New("nested too deep")
)

// CheckPayload returns nil if payload can be sent to clients of every
// serializer: UTF-8, exactly one JSON object, perhaps within whitespace, at
// most [MaxDepth] levels. Else it returns [ErrNotUTF8], [ErrNotJSON],
// [ErrTooDeep] or [ErrNotObject], unwrapped. UTF-8 matters most: a browser
// drops its connection over one text frame that is not.
func CheckPayload(payload []byte) error {
	if err := CheckJSON(payload); err != nil {
		return err
	}
	if !IsObject(payload) {
		return ErrNotObject
	}
	return nil
}

// CheckJSON is [CheckPayload] for any JSON value.
func CheckJSON(b []byte) error {
	return CheckJSONDepth(b, MaxDepth)
}

// CheckJSONDepth is [CheckJSON] with at most depth levels instead of MaxDepth:
// an envelope with a payload in it may have MaxDepth+1, what goes to one client
// [AnyDepth].
func CheckJSONDepth(b []byte, depth int) error {
	if !utf8.Valid(b) {
		return ErrNotUTF8
	}
	end, err := scanValue(b, skipSpace(b, 0), depth)
	if err != nil {
		return err
	}
	if skipSpace(b, end) < len(b) {
		return ErrNotJSON
	}
	return nil
}

// IsObject reports whether raw, which is valid JSON, is an object.
func IsObject(raw []byte) bool {
	i := skipSpace(raw, 0)
	return i < len(raw) && raw[i] == '{'
}

// TrimJSON returns raw without the JSON whitespace around it.
func TrimJSON(raw []byte) []byte {
	end := len(raw)
	for end > 0 && isSpace(raw[end-1]) {
		end--
	}
	return raw[skipSpace(raw[:end], 0):end]
}
