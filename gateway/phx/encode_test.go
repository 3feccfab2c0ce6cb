package phx

import (
	"errors"
	"strings"
	"testing"
)

// The exact bytes: the vectors compare values only.
func TestAppendText(t *testing.T) {
	payload := []byte(`{"n": 1.0}`)
	for _, c := range []struct {
		name   string
		append func(s Serializer, dst []byte) []byte
		want   [NumSerializers]string
	}{
		{"reply", func(s Serializer, dst []byte) []byte {
			return s.AppendReply(dst, `"7"`, `9`, `ro"om`, "ok", payload)
		}, [...]string{
			V1: `{"topic":"ro\"om","event":"phx_reply","payload":{"status":"ok","response":{"n": 1.0}},"ref":9}`,
			V2: `["7",9,"ro\"om","phx_reply",{"status":"ok","response":{"n": 1.0}}]`,
		}},
		{"reply to an odd topic", func(s Serializer, dst []byte) []byte {
			return AppendOddTopicReply(s, dst, `"9"`, []byte(`[ 1]`), "error", payload)
		}, [...]string{
			V1: `{"topic":[ 1],"event":"phx_reply","payload":{"status":"error","response":{"n": 1.0}},"ref":"9"}`,
			V2: `[null,"9",[ 1],"phx_reply",{"status":"error","response":{"n": 1.0}}]`,
		}},
		{"push", func(s Serializer, dst []byte) []byte {
			return s.AppendPush(dst, `"7"`, "", "żółw", "tick\x01", payload)
		}, [...]string{
			V1: `{"topic":"żółw","event":"tick\u0001","payload":{"n": 1.0},"ref":null}`,
			V2: `["7",null,"żółw","tick\u0001",{"n": 1.0}]`,
		}},
		{"notice", func(s Serializer, dst []byte) []byte {
			return s.AppendPush(dst, `"7"`, `"7"`, "t", EventClose, []byte(`{}`))
		}, [...]string{
			V1: `{"topic":"t","event":"phx_close","payload":{},"ref":"7"}`,
			V2: `["7","7","t","phx_close",{}]`,
		}},
		{"broadcast", func(s Serializer, dst []byte) []byte {
			return s.AppendBroadcast(dst, "t", "shout", payload)
		}, [...]string{
			V1: `{"topic":"t","event":"shout","payload":{"n": 1.0},"ref":null}`,
			V2: `[null,null,"t","shout",{"n": 1.0}]`,
		}},
	} {
		for s := range Serializer(NumSerializers) {
			if got := string(c.append(s, []byte("before "))); got != "before "+c.want[s] {
				t.Errorf("%s, %v: got %s, want %s", c.name, s, got, c.want[s])
			}
		}
	}
}

func TestAppendBinaryFieldLimit(t *testing.T) {
	at, beyond := strings.Repeat("x", maxFieldBytes), strings.Repeat("x", maxFieldBytes+1)
	long := StringRef(beyond)
	for _, c := range []struct {
		field  string
		append func(dst []byte, f string) ([]byte, error)
	}{
		{"push join_ref", func(dst []byte, f string) ([]byte, error) { return AppendBinaryPush(dst, StringRef(f), "t", "e", nil) }},
		{"push topic", func(dst []byte, f string) ([]byte, error) { return AppendBinaryPush(dst, "", f, "e", nil) }},
		{"push event", func(dst []byte, f string) ([]byte, error) { return AppendBinaryPush(dst, "", "t", f, nil) }},
		{"reply join_ref", func(dst []byte, f string) ([]byte, error) {
			return AppendBinaryReply(dst, StringRef(f), "", "t", "ok", nil)
		}},
		{"reply ref", func(dst []byte, f string) ([]byte, error) {
			return AppendBinaryReply(dst, "", StringRef(f), "t", "ok", nil)
		}},
		{"reply topic", func(dst []byte, f string) ([]byte, error) { return AppendBinaryReply(dst, "", "", f, "ok", nil) }},
		{"reply status", func(dst []byte, f string) ([]byte, error) { return AppendBinaryReply(dst, "", "", "t", f, nil) }},
		{"broadcast topic", func(dst []byte, f string) ([]byte, error) { return AppendBinaryBroadcast(dst, f, "e", nil) }},
		{"broadcast event", func(dst []byte, f string) ([]byte, error) { return AppendBinaryBroadcast(dst, "t", f, nil) }},
	} {
		if got, err := c.append([]byte("before"), at); err != nil || !strings.Contains(string(got), at) {
			t.Errorf("%s of %d bytes: %q, %v", c.field, len(at), got, err)
		}
		got, err := c.append([]byte("before"), beyond)
		if !errors.Is(err, ErrFieldTooLong) || string(got) != "before" {
			t.Errorf("%s of %d bytes: %q, %v, want ErrFieldTooLong and dst as it was", c.field, len(beyond), got, err)
		}
		if _, name, _ := strings.Cut(c.field, " "); err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %q does not name the field", c.field, err)
		}
	}
	// The limit is on the text, not on its JSON: 255 quotes are 510 bytes there.
	quotes := strings.Repeat(`"`, maxFieldBytes)
	if got, err := AppendBinaryPush(nil, StringRef(quotes), "t", "e", nil); err != nil || string(got) != "\x00\xff\x01\x01"+quotes+"te" {
		t.Errorf("255 quotes: %q, %v", got, err)
	}
	// A push has no ref, so none can be too long; text has no limit at all.
	if frame := V2.AppendReply(nil, long, long, beyond, beyond, []byte(`{}`)); CheckJSON(frame) != nil {
		t.Errorf("long text frame is not JSON: %s", frame)
	}
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1024)
	payload := []byte(`{"body":"hello"}`)
	topic := "room:żółw"
	for name, encode := range map[string]func(){
		"reply":     func() { buf = V2.AppendReply(buf[:0], `"4"`, `"17"`, topic, "ok", payload) },
		"push":      func() { buf = V1.AppendPush(buf[:0], `"4"`, "", topic, "new_msg", payload) },
		"broadcast": func() { buf = V2.AppendBroadcast(buf[:0], topic, "new_msg", payload) },
		"binary": func() {
			var err error
			if buf, err = AppendBinaryReply(buf[:0], `"4"`, `17`, topic, "ok", payload); err != nil {
				t.Fatal(err)
			}
		},
	} {
		if allocs := testing.AllocsPerRun(100, encode); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
