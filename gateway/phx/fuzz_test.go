package phx

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzDecode compares Decode with a slow reading by encoding/json, and sends
// what was decoded around once more.
func FuzzDecode(f *testing.F) {
	for _, frame := range []string{
		`["1","2","room:1","e",{"a":"\u0000"}]`, ` [ null , 12 , "\u017c\ud83e" , 7 , [] , "x" ] `,
		`{"topic":"t","event":"e","payload":{},"ref":"1","topic":null,"join_ref":"\n"}`, `[1,2,3,4]`, `{"topic":1}`,
		"\x00\x01\x02\x01\x01" + "1\"\nte" + "bytes", "\x00\x00\x00\x00\x00", "\x00\xff\x01", "\x01\x00\x00\x00\x00", "",
	} {
		for s := range byte(NumSerializers) {
			f.Add(s, true, []byte(frame))
			f.Add(s, false, []byte(frame))
		}
	}
	f.Fuzz(func(t *testing.T, version byte, text bool, frame []byte) {
		s := Serializer(version % NumSerializers)
		before := bytes.Clone(frame)
		var m Message
		err := s.Decode(&m, text, frame)
		if !bytes.Equal(frame, before) {
			t.Fatalf("the frame was changed to %q", frame)
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("error %v is not ErrMalformed", err)
		}
		if text && !utf8.Valid(frame) {
			return // excluded by the caller; that it did not panic is all
		}
		if s == V1 || text {
			wantDecodedLike(t, &m, err, modelFields(s, frame))
		}
		if err == nil && s == V2 {
			wantRoundTrip(t, &m)
		}
	})
}

// modelFields reads join_ref, ref, topic, event and payload with encoding/json;
// nil if the frame is malformed.
func modelFields(s Serializer, frame []byte) []json.RawMessage {
	if !json.Valid(frame) || !utf8.Valid(frame) {
		return nil
	}
	if s == V2 {
		var array []json.RawMessage
		if json.Unmarshal(frame, &array) != nil || len(array) < 5 {
			return nil
		}
		return array[:5]
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(frame, &object) != nil {
		return nil
	}
	fields := []json.RawMessage{object["join_ref"]}
	for _, key := range []string{"ref", "topic", "event", "payload"} {
		value, ok := object[key]
		if !ok {
			return nil
		}
		fields = append(fields, value)
	}
	return fields
}

func wantDecodedLike(t *testing.T, m *Message, err error, fields []json.RawMessage) {
	t.Helper()
	if errors.Is(err, ErrTooDeep) {
		return // encoding/json goes deeper
	}
	if (err == nil) != (fields != nil) {
		t.Fatalf("error %v, while encoding/json reads %q", err, fields)
	}
	if err != nil {
		return
	}
	wantRef(t, "join_ref", m.JoinRef, mustRef(t, fields[0]))
	wantRef(t, "ref", m.Ref, mustRef(t, fields[1]))
	var topic, event any
	if json.Unmarshal(fields[2], &topic) == nil {
		if text, ok := topic.(string); string(m.Topic) != text || ok != (m.OddTopic == nil) || !ok && !bytes.Equal(m.OddTopic, fields[2]) {
			t.Errorf("topic %q, odd topic %q, want %s", m.Topic, m.OddTopic, fields[2])
		}
	}
	if json.Unmarshal(fields[3], &event) == nil {
		if text, ok := event.(string); string(m.Event) != text || ok == m.OddEvent {
			t.Errorf("event %q, odd %t, want %s", m.Event, m.OddEvent, fields[3])
		}
	}
	if !bytes.Equal(m.Payload, fields[4]) {
		t.Errorf("payload %q, want %q", m.Payload, fields[4])
	}
}

// wantRoundTrip encodes a V2 message as a client would and decodes it again.
func wantRoundTrip(t *testing.T, m *Message) {
	t.Helper()
	var frame []byte
	if m.Binary {
		frame = appendClientPush(nil, m)
	} else if m.OddTopic == nil && !m.OddEvent {
		frame = V2.AppendPush(nil, Ref(m.JoinRef), Ref(m.Ref), string(m.Topic), string(m.Event), m.Payload)
	} else {
		return
	}
	var again Message
	if err := V2.Decode(&again, !m.Binary, frame); err != nil {
		t.Fatalf("decode of own %q: %v", frame, err)
	}
	first := *m
	first.buf, again.buf = nil, nil
	if !reflect.DeepEqual(first, again) {
		t.Errorf("encoded and decoded again: %+v, want %+v", again, first)
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, text := range []string{`{"a":[1,-2.5e+3,"\u017c",null]}`, `[1,]`, "\"\xff\"", `{"a" :"b\\"} `, `"12345678\n"`, `01`, nested(5)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := CheckJSON(text)
		if valid := json.Valid(text) && utf8.Valid(text); err != ErrTooDeep && (err == nil) != valid {
			t.Fatalf("CheckJSON(%q) = %v, want valid: %t", text, err, valid)
		}
		// None of these may panic, whatever the text.
		Member(text, "a")
		ascii := AppendASCII(nil, text)
		if unquoted, quoteErr := AppendUnquote(nil, text); (quoteErr == nil) != (json.Valid(text) && len(text) > 0 && text[0] == '"' && text[len(text)-1] == '"') {
			t.Fatalf("AppendUnquote(%q) = %q, %v", text, unquoted, quoteErr)
		}
		if err != nil {
			return
		}
		for _, c := range ascii {
			if c < ' ' || c > '~' {
				t.Fatalf("AppendASCII(%q) = %q", text, ascii)
			}
		}
		wantSameJSON(t, ascii, text)
		if again := AppendASCII(nil, ascii); !bytes.Equal(again, ascii) {
			t.Fatalf("AppendASCII(%q) = %q", ascii, again)
		}
		wantMembers(t, text)
	})
}

// wantMembers compares Member with encoding/json.
func wantMembers(t *testing.T, text []byte) {
	t.Helper()
	if !IsObject(text) {
		return
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	for key, want := range object {
		if got, ok := Member(text, key); !ok || !bytes.Equal(got, want) {
			t.Errorf("Member(%q, %q) = %q, %t, want %q", text, key, got, ok, want)
		}
	}
	EachMember(text, func(key, _ []byte) bool {
		if _, ok := object[string(key)]; !ok {
			t.Errorf("EachMember(%q) has key %q", text, key)
		}
		return true
	})
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "room:1", "a\"b\\\n\x00\x7f", "żółw🦆\u2028\ufffd", "\xff\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := string([]rune(s)) // each byte that is not UTF-8 becomes U+FFFD
		for _, quoted := range [][]byte{AppendQuote(nil, s), AppendQuoteASCII(nil, s)} {
			var std string
			if err := json.Unmarshal(quoted, &std); err != nil || std != want {
				t.Fatalf("encoding/json reads %q as %q, %v, want %q", quoted, std, err, want)
			}
			if got, err := AppendUnquote(nil, quoted); err != nil || string(got) != want {
				t.Fatalf("AppendUnquote(%q) = %q, %v, want %q", quoted, got, err, want)
			}
		}
		if text, ok := StringRef(s).Text(); !ok || text != want {
			t.Fatalf("StringRef(%q).Text() = %q, %t, want %q", s, text, ok, want)
		}
	})
}
