package phx

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
)

// appendClientPush encodes m as a client would, as a V2 binary push; the fields
// of m fit.
func appendClientPush(dst []byte, m *Message) []byte {
	fields := []string{Ref(m.JoinRef).bare(), Ref(m.Ref).bare(), string(m.Topic), string(m.Event)}
	dst = append(dst, kindPush)
	for _, f := range fields {
		dst = append(dst, byte(len(f)))
	}
	for _, f := range fields {
		dst = append(dst, f...)
	}
	return append(dst, m.Payload...)
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mustRef makes a Ref of a JSON value with encoding/json.
func mustRef(t *testing.T, raw json.RawMessage) Ref {
	t.Helper()
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if raw[0] != '"' {
		return Ref(raw)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("ref %s: %v", raw, err)
	}
	return StringRef(s)
}

func mustDecode(t *testing.T, s Serializer, text bool, frame string) *Message {
	t.Helper()
	m := new(Message)
	if err := s.Decode(m, text, []byte(frame)); err != nil {
		t.Fatalf("decode %q: %v", frame, err)
	}
	return m
}

// mustJSON decodes one JSON value, its numbers exactly.
func mustJSON(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("%q: more than one value", text)
	}
	return v
}

func wantSameJSON(t *testing.T, got, want []byte) {
	t.Helper()
	if !reflect.DeepEqual(mustJSON(t, got), mustJSON(t, want)) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func wantRef(t *testing.T, name string, got []byte, want Ref) {
	t.Helper()
	if Ref(got) != want || (got == nil) != (want == "") {
		t.Errorf("%s %q (nil: %t), want %q", name, got, got == nil, want)
	}
}

// nested is an array with the given levels, nestedObject an object.
func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

func nestedObject(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
