package phx_test

import (
	"fmt"

	"github.com/phxgate/phxgate/gateway/phx"
)

func Example() {
	s, _ := phx.Negotiate("2.0.0")
	var m phx.Message
	if err := s.Decode(&m, true, []byte(`["3","7","room:lobby","new_msg",{"body":"hi"}]`)); err != nil {
		fmt.Println(err) // the socket is closed with 1011
		return
	}
	fmt.Printf("%s on %s: %s\n", m.Event, m.Topic, m.Payload)
	fmt.Printf("%s\n", s.AppendReply(nil, phx.Ref(m.JoinRef), phx.Ref(m.Ref), string(m.Topic), "ok", []byte(`{}`)))
	fmt.Printf("%s\n", s.AppendBroadcast(nil, string(m.Topic), string(m.Event), m.Payload))
	// Output:
	// new_msg on room:lobby: {"body":"hi"}
	// ["3","7","room:lobby","phx_reply",{"status":"ok","response":{}}]
	// [null,null,"room:lobby","new_msg",{"body":"hi"}]
}
