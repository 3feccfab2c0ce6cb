package phxtest

import "testing"

// The server of these tests says nothing by itself, so its answers are ordered
// first: the frames that the verb will look for are already there.
func TestVerbs(t *testing.T) {
	url := wsURL(startObedient(t))
	for _, version := range []struct {
		name, url string
		join      string // what the client writes
		greeting  string
		reply     string
	}{
		{"V2", url, `["1","1","room:a",  "phx_join",{"k":1}]`, `["1",null,"room:a","greeting",{"hello":true}]`,
			`["1","1","room:a","phx_reply",{"status":"ok","response":{"n":1}}]`},
		{"V1", url[:len(url)-len("2.0.0")] + "1.0.0", `{"topic":"room:a","event":"phx_join","payload":{"k":1},"ref":"1"}`,
			`{"topic":"room:a","event":"greeting","payload":{"hello":true},"ref":null}`,
			`{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{"n":1}},"ref":"1"}`},
	} {
		t.Run(version.name, func(t *testing.T) {
			c := Dial(t, version.url)
			c.SendJSON(order("text", version.greeting))
			c.SendJSON(order("text", version.reply))
			if got := string(c.Join("room:a", map[string]int{"k": 1})); got != `{"n":1}` {
				t.Errorf("response %s", got)
			}
			// What came before the reply is still there; then the echo of the join.
			if m := c.WantEvent("room:a", "greeting", `{"hello":true}`); m.Ref != nil {
				t.Errorf("ref of a push: %v", m.Ref)
			}
			c.Want(version.join)
		})
	}

	c := Dial(t, url)
	c.SendJSON(order("text", `[null,"1","nowhere","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]`))
	ref := c.Push("nowhere", "x", nil)
	c.WantUntil(`[null,"1","nowhere","x",null]`)
	c.SendJSON(order("hex", "01010108023132726f6f6d3a62696e6f6b00ff00"))
	if m := c.WantReply("2", "ok"); !m.Binary || m.Topic != "room:bin" || string(m.Payload) != "\x00\xff\x00" {
		t.Errorf("binary reply: %+v", m)
	}
	if ref != "1" {
		t.Errorf("ref %q, want 1", ref)
	}
	c.SendJSON(order("text", `[null,"9","t","phx_reply",{"status":"error","response":{}}]`))
	wantFailure(t, func(tb testing.TB) { with(c, tb).WantReply("9", "ok") }, `status "error" {}, want "ok"`)
}

func TestParseMessage(t *testing.T) {
	for _, bad := range []Frame{
		{Data: []byte(`[1,2,3,4]`)},
		{Data: []byte(`{`)},
		{Data: []byte(`"x"`)},
		{Data: []byte(`[null,null,"t","phx_reply",3]`)},
		{Binary: true},
		{Binary: true, Data: []byte{3}},
		{Binary: true, Data: []byte{2, 1}},
		{Binary: true, Data: []byte{2, 1, 9, 'a'}},
	} {
		if m, err := ParseMessage(bad); err == nil {
			t.Errorf("%v: %+v, want an error", bad, m)
		}
	}
	m, err := ParseMessage(Frame{Data: []byte(`["1",null,"t","e",null]`)})
	if err != nil || m.JoinRef != "1" || m.Ref != nil || m.Event != "e" || string(m.Payload) != "null" {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = ParseMessage(Frame{Binary: true, Data: []byte("\x02\x01\x05tshout\x01")})
	if err != nil || m.Topic != "t" || m.Event != "shout" || string(m.Payload) != "\x01" {
		t.Errorf("%+v, %v", m, err)
	}
}
