package phx

import "testing"

func TestRef(t *testing.T) {
	for _, c := range []struct {
		ref    Ref
		text   string
		isText bool
	}{
		{"", "", false},
		{`12`, "", false},
		{`[1]`, "", false},
		{`""`, "", true},
		{`"3"`, "3", true},
		{`"a\"b\\\n"`, "a\"b\\\n", true},
		{`"żółw"`, "żółw", true},
		{`"`, "", false},
		{`"\x"`, "", false},
	} {
		if text, ok := c.ref.Text(); text != c.text || ok != c.isText {
			t.Errorf("Ref(%s).Text() = %q, %t, want %q, %t", c.ref, text, ok, c.text, c.isText)
		}
	}
}

func TestRefOr(t *testing.T) {
	for _, c := range []struct{ ref, other, want Ref }{
		{"", "", ""},
		{"", `"1"`, `"1"`},
		{`"2"`, `"1"`, `"2"`},
		{`""`, `"1"`, `""`},
		{`0`, `"1"`, `0`},
	} {
		if got := c.ref.Or(c.other); got != c.want {
			t.Errorf("Ref(%s).Or(%s) = %s, want %s", c.ref, c.other, got, c.want)
		}
	}
}

// Equal values must be equal Refs, whichever frame they came in, and unequal
// ones not.
func TestRefIsCanonical(t *testing.T) {
	for _, c := range []struct {
		json string
		want Ref
	}{
		{`null`, ""},
		{`"3"`, `"3"`},
		{`"\u0033"`, `"3"`},
		{`3`, `3`},
		{`3.0`, `3.0`},
		{`""`, `""`},
		{`"\u017c"`, `"ż"`},
		{`"\ud83e\udd86"`, `"🦆"`},
		{`"\ud83e"`, `"` + "\ufffd" + `"`},
		{`"\/"`, `"/"`},
		{`"\u0022\u005C\u000A"`, `"\"\\\n"`},
		{`true`, `true`},
		{`"null"`, `"null"`},
		{`[1, "a"]`, `[1, "a"]`},
		{`{"a":null}`, `{"a":null}`},
	} {
		m := mustDecode(t, V2, true, `[ `+c.json+` ,`+c.json+"\t"+`,"t","e",{}]`)
		wantRef(t, "V2 join_ref of "+c.json, m.JoinRef, c.want)
		wantRef(t, "V2 ref of "+c.json, m.Ref, c.want)
		m = mustDecode(t, V1, true, `{"topic":"t","event":"e","payload":{},"join_ref": `+c.json+` ,"ref":`+c.json+`}`)
		wantRef(t, "V1 join_ref of "+c.json, m.JoinRef, c.want)
		wantRef(t, "V1 ref of "+c.json, m.Ref, c.want)
	}

	m := mustDecode(t, V2, false, "\x00\x01\x03\x01\x01"+"3"+"a\"\n"+"t"+"e")
	wantRef(t, "binary join_ref", m.JoinRef, StringRef("3"))
	wantRef(t, "binary ref", m.Ref, `"a\"\n"`)
	if StringRef("3") != `"3"` || StringRef("") != `""` {
		t.Errorf("StringRef: %s, %s", StringRef("3"), StringRef(""))
	}
}
