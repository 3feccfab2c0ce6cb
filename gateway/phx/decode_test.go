package phx

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestDecodeOddTypes(t *testing.T) {
	for _, odd := range []string{`null`, `7`, `-0.5e+3`, `true`, `["a"]`, `{"a": 1}`} {
		frames := map[Serializer]string{
			V1: `{"topic": ` + odd + ` ,"event": ` + odd + ` ,"payload":{},"ref":null}`,
			V2: `[null,null, ` + odd + ` , ` + odd + ` ,{}]`,
		}
		for s, frame := range frames {
			m := mustDecode(t, s, true, frame)
			if m.Topic != nil || string(m.OddTopic) != odd {
				t.Errorf("%v %s: topic %q, odd topic %q", s, odd, m.Topic, m.OddTopic)
			}
			if m.Event != nil || !m.OddEvent {
				t.Errorf("%v %s: event %q, odd %t", s, odd, m.Event, m.OddEvent)
			}
		}
	}
	m := mustDecode(t, V2, true, `[null,null,"","",{}]`)
	if m.Topic == nil || m.Event == nil || m.OddTopic != nil || m.OddEvent {
		t.Errorf("empty topic and event are strings: %+v", m)
	}
}

func TestDecodeV1LastKeyWins(t *testing.T) {
	m := mustDecode(t, V1, true,
		`{"topic":5,"event":"e","payload":1,"ref":"1","t\u006fpic":"b","event":null,"payload": [2] ,"ref":null,"join_ref":"4","join_ref":"5"}`)
	if string(m.Topic) != "b" || m.OddTopic != nil || !m.OddEvent || string(m.Payload) != "[2]" || m.Ref != nil || string(m.JoinRef) != `"5"` {
		t.Errorf("got %+v", m)
	}
}

// The payload keeps its bytes: numbers, order, escapes, inner whitespace.
func TestDecodeKeepsPayload(t *testing.T) {
	const payload = `{"z":1.0e400, "a":"\u0041\/", "z":12345678901234567890}`
	m := mustDecode(t, V2, true, `["1","2","t","e", `+payload+"\r\n]\t")
	if string(m.Payload) != payload {
		t.Errorf("payload %s, want %s", m.Payload, payload)
	}
}

// What was in the message before must not show through.
func TestDecodeReuse(t *testing.T) {
	var m Message
	frames := []struct {
		text  bool
		frame string
	}{
		{true, `["\n1","\n2",7,8,{}]`},
		{false, "\x00\x01\x01\x01\x01" + "12te" + "bytes"},
		{true, `[null,null,"\u0074","\u0065",[]]`},
	}
	wants := []string{
		`"\n1" "\n2" "" "" "7" true {} false`,
		`"1" "2" "t" "e" "" false bytes true`,
		`  "t" "e" "" false [] false`,
	}
	for i, f := range frames {
		if err := V2.Decode(&m, f.text, []byte(f.frame)); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s %q %q %q %t %s %t", m.JoinRef, m.Ref, m.Topic, m.Event, m.OddTopic, m.OddEvent, m.Payload, m.Binary)
		if got != wants[i] {
			t.Errorf("frame %d: got %s, want %s", i, got, wants[i])
		}
	}
}

func TestDecodeDropsHugeBuffer(t *testing.T) {
	var m Message
	topic := `"\n` + strings.Repeat("t", 2*maxKeptBuffer) + `"`
	for _, frame := range []string{`[null,null,` + topic + `,"e",{}]`, `[null,null,"t","e",{}]`} {
		if err := V2.Decode(&m, true, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	if cap(m.buf) > maxKeptBuffer {
		t.Errorf("%d bytes kept, want at most %d", cap(m.buf), maxKeptBuffer)
	}
}

func TestDecodeMalformed(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		name  string
		s     Serializer
		text  bool
		frame string
		cause error // nil: any
	}{
		{"only whitespace", V2, true, " \n", errNotArray},
		{"something after the array", V2, true, `[1,2,"t","e",{}] ]`, ErrNotJSON},
		{"bad sixth element", V2, true, `[1,2,"t","e",{},nul]`, ErrNotJSON},
		{"trailing comma", V2, true, `[1,2,"t","e",{},]`, ErrNotJSON},
		{"four elements", V2, true, `[1,2,"t","e"]`, errTooShort},
		{"byte order mark", V2, true, "\ufeff" + `[1,2,"t","e",{}]`, errNotArray},
		{"control character in the topic", V2, true, "[1,2,\"t\n\",\"e\",{}]", ErrNotJSON},
		{"something after the object", V1, true, `{"topic":"t","event":"e","payload":{},"ref":"1"}x`, ErrNotJSON},
		{"required key only inside", V1, true, `{"topic":"t","event":"e","payload":{"ref":1}}`, errNoRef},
		{"key in other case", V1, true, `{"Topic":"t","event":"e","payload":{},"ref":"1"}`, errNoTopic},
		{"not UTF-8", V1, false, "{\"topic\":\"\xff\",\"event\":\"e\",\"payload\":{},\"ref\":\"1\"}", ErrNotUTF8},
		{"join_ref not UTF-8", V2, false, "\x00\x01\x00\x00\x00\xff", errFieldUTF8},
		{"ref not UTF-8", V2, false, "\x00\x00\x01\x00\x00\xff", errFieldUTF8},
		{"topic not UTF-8", V2, false, "\x00\x00\x00\x01\x00\xff", errFieldUTF8},
		{"event not UTF-8", V2, false, "\x00\x00\x00\x00\x01\xff", errFieldUTF8},
		{"character split between fields", V2, false, "\x00\x00\x00\x01\x01\xc5\xbc", errFieldUTF8},
		{"one byte short", V2, false, "\x00\x01\x01\x01\x0112t", errCutShort},
		{"JSON in a binary frame", V2, false, `[1,2,"t","e",{}]`, errNotPush},
		{"long rubbish", V2, true, `["` + long, ErrNotJSON},
	} {
		err := c.s.Decode(new(Message), c.text, []byte(c.frame))
		if !errors.Is(err, ErrMalformed) || !errors.Is(err, c.cause) {
			t.Errorf("%s: error %v, want ErrMalformed and %v", c.name, err, c.cause)
		} else if len(err.Error()) > 80 {
			t.Errorf("%s: error of %d bytes: %v", c.name, len(err.Error()), err)
		}
	}
}

// A client may nest what its frame can hold.
func TestDecodeDepth(t *testing.T) {
	for _, c := range []struct {
		name  string
		s     Serializer
		frame func(deep string) string
	}{
		{"V2 payload", V2, func(deep string) string { return `[1,2,"t","e",` + deep + `]` }},
		{"V2 ref", V2, func(deep string) string { return `[1,` + deep + `,"t","e",{}]` }},
		{"V2 topic", V2, func(deep string) string { return `[1,2,` + deep + `,"e",{}]` }},
		{"V2 sixth element", V2, func(deep string) string { return `[1,2,"t","e",{},` + deep + `]` }},
		{"V1 payload", V1, func(deep string) string { return `{"topic":"t","event":"e","ref":1,"payload":` + deep + `}` }},
	} {
		for _, deep := range []func(int) string{nested, nestedObject} {
			if err := c.s.Decode(new(Message), true, []byte(c.frame(deep(MaxDepth)))); err != nil {
				t.Errorf("%s, %d levels: %v", c.name, MaxDepth, err)
			}
			for _, levels := range []int{MaxDepth + 1, 300_000} { // a stack for each of them would be noticed
				if err := c.s.Decode(new(Message), true, []byte(c.frame(deep(levels)))); err != nil {
					t.Errorf("%s, %d levels: %v", c.name, levels, err)
				}
			}
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name  string
		s     Serializer
		text  bool
		frame string
	}{
		{"V2 text", V2, true, `["4","17","room:lobby","new_msg",{"body":"hello \"żółw\""}]`},
		{"V2 binary", V2, false, "\x00\x01\x02\x0a\x07417room:lobbynew_msg" + "\x00\x01\x02"},
		{"V1", V1, true, `{"topic":"room:lobby","event":"new_msg","payload":{"body":"hello"},"ref":"17"}`},
		{"escapes, with a buffer from before", V2, true, `["\u0034","\n","room:\/lobby","new\u005fmsg",{}]`},
	} {
		var m Message
		frame := []byte(c.frame)
		allocs := testing.AllocsPerRun(100, func() {
			if err := c.s.Decode(&m, c.text, frame); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", c.name, allocs)
		}
		if !bytes.Equal(frame, []byte(c.frame)) {
			t.Errorf("%s: the frame was changed", c.name)
		}
	}
}
