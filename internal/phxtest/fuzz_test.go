package phxtest

import "testing"

// What parses is written back the same way, and what is written parses.
func FuzzHeaderValue(f *testing.F) {
	for _, seed := range []string{"", "room:a b", "=20a", "=", "=2e", "room:ż", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if back, err := ParseHeaderValue(HeaderValue(s)); err != nil || back != s {
			t.Errorf("%q is written %q and read back as %q, %v", s, HeaderValue(s), back, err)
		}
		parsed, err := ParseHeaderValue(s)
		if err != nil {
			return
		}
		if plain := HeaderValue(parsed); s != plain && s != escape(parsed, true) && s != parsed {
			t.Errorf("%q is read as %q, which is written %q", s, parsed, plain)
		}
	})
}

// No frame makes the parser panic.
func FuzzParseMessage(f *testing.F) {
	f.Add(true, []byte("\x01\x01\x01\x08\x0212room:binok\x00"))
	f.Add(false, []byte(`["1",null,"t","phx_reply",{"status":"ok","response":{}}]`))
	f.Add(false, []byte(`{"topic":"t","event":"e","payload":{},"ref":1}`))
	f.Fuzz(func(t *testing.T, binary bool, data []byte) {
		m, err := ParseMessage(Frame{Binary: binary, Data: data})
		if err == nil && m.Binary != binary {
			t.Errorf("%x: %+v", data, m)
		}
	})
}
