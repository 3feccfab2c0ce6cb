package nats

import (
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	for _, c := range []struct{ s, value string }{
		{"", ""},
		{"new_msg", "new_msg"},
		{"room:a.b/c d*", "room:a.b/c d*"},
		{"~!", "~!"},
		{"a=b", "a=3Db"},
		{" a", "=20a"},
		{"a ", "a=20"},
		{" ", "=20"},
		{"room:é.x", "room:=C3=A9=2Ex"},
		{"a\r\nb", "a=0D=0Ab"},
		{"\x7f", "=7F"},
		{"\t", "=09"},
	} {
		if got := EncodeHeader(c.s); got != c.value {
			t.Errorf("EncodeHeader(%q) = %q, want %q", c.s, got, c.value)
		}
		if got, err := DecodeHeader(c.value); err != nil || got != c.s {
			t.Errorf("DecodeHeader(%q) = %q, %v; want %q", c.value, got, err, c.s)
		}
	}
}

func TestDecodeHeaderIsStrict(t *testing.T) {
	for _, v := range []string{
		"=", "a=", "=2", "=2e", "=41", "=3A", "=C3 ", "a.b=3D", "a b=3D", "==3D", "=3D=", // not encoded throughout
		"é", "a\x00", "a\tb", "\x7f", "\xff", "=C3\xa9", // bytes no header may hold
	} {
		if got, err := DecodeHeader(v); err == nil {
			t.Errorf("DecodeHeader(%q) = %q, want an error", v, got)
		}
	}
}

// A sender that encodes where it need not is understood: the contract asks only for strict decoding.
func TestDecodeHeaderEncodedNeedlessly(t *testing.T) {
	if got, err := DecodeHeader("room:a=2Eb"); err != nil || got != "room:a.b" {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzHeaderRoundTrip(f *testing.F) {
	for _, s := range []string{"", "room:lobby", " a", "a=41", "é\n", "=2E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := EncodeHeader(s)
		if v != strings.TrimSpace(v) {
			t.Fatalf("%q encodes to %q, which a client would trim", s, v)
		}
		for i := 0; i < len(v); i++ {
			if v[i] < ' ' || v[i] > '~' {
				t.Fatalf("%q encodes to %q, not printable ASCII", s, v)
			}
		}
		if got, err := DecodeHeader(v); err != nil || got != s {
			t.Fatalf("%q encodes to %q and decodes to %q, %v", s, v, got, err)
		}
		// Whatever decodes is either itself or its encoded form.
		if got, err := DecodeHeader(s); err == nil && got != s && string(appendEscaped(nil, got, colonRaw)) != s {
			t.Fatalf("DecodeHeader took %q for %q", s, got)
		}
	})
}
