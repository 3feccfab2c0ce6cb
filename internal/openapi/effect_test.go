package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// What is broadcast reaches the clients of every gateway, in its order and as it stands there, but not the channel that it is from.
func testBroadcast(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	joined := listen(t, nats, "phx.joined.>")
	a, b := start(t, doc, nats), start(t, doc, nats)
	here, there := a.dial(""), b.dial("")
	topic := "room:é 1"
	here.Join(topic, struct{}{})
	from := joined.next().Header.Get("Phx-Channel")
	there.Join(topic, struct{}{})

	a.post("/api/broadcast", `{"topic":"room:é 1","event":"new_msg","payload":{"b": 1.0, "a":"\u00e9"}}`).wantBody(t, `{"published":1}`)
	for _, c := range []*phxtest.Client{here, there} {
		if m := c.WantEvent(topic, "new_msg", `{"b":1,"a":"é"}`); string(m.Payload) != `{"b": 1.0, "a":"\u00e9"}` {
			t.Errorf("payload %s", m.Payload)
		}
	}
	var messages []string
	for i := range 1000 {
		messages = append(messages, fmt.Sprintf(`{"topic":"room:é 1","event":"n","payload":{"n":%d}}`, i))
	}
	a.post("/api/broadcast", `{"messages":[`+strings.Join(messages, ",")+`]}`).wantBody(t, `{"published":1000}`)
	for i := range 1000 {
		there.WantEvent(topic, "n", fmt.Sprintf(`{"n":%d}`, i))
		here.WantEvent(topic, "n", fmt.Sprintf(`{"n":%d}`, i))
	}
	b.post("/api/broadcast", `{"messages":[{"topic":"room:é 1","event":"typing","payload":{},"from":"`+from+`"},{"topic":"room:é 1","event":"bytes","payload":"AP8=","encoding":"binary","from":"`+from+`"},`+
		`{"topic":"room:é 1","event":"é!","payload":"AP8=","encoding":"binary"},{"topic":"room:é 1","event":"end","payload":{},"encoding":"json"}]}`).wantBody(t, `{"published":4}`)
	there.WantEvent(topic, "typing", `{}`)
	there.WantBinary([]byte("\x02\x09\x05" + topic + "bytes\x00\xff"))
	for _, c := range []*phxtest.Client{here, there} {
		c.WantBinary([]byte("\x02\x09\x03" + topic + "é!\x00\xff"))
		c.WantEvent(topic, "end", `{}`)
	}
}

// A socket id's sockets are closed on every gateway, and no others.
func testDisconnect(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	connects := listen(t, nats, "phx.authz.connect")
	go func() {
		for m := range connects.messages {
			var r struct{ Params struct{ ID string } }
			_ = json.Unmarshal(m.Data, &r)
			_ = m.Respond(fmt.Appendf(nil, `{"allow":true,"id":%q}`, r.Params.ID))
		}
	}()
	t.Cleanup(func() { connects.nc.Close(); close(connects.messages) })
	a, b := start(t, doc, nats, "CONNECT_AUTH=authz"), start(t, doc, nats, "CONNECT_AUTH=authz")
	id := "user:é 42"
	one, two, other := a.dial("id="+url.QueryEscape(id)), b.dial("id="+url.QueryEscape(id)), b.dial("id=user:43")
	a.post("/api/disconnect", `{"socket_id":"user:\u00e9 42"}`).wantBody(t, `{"published":1}`)
	one.WantClosed(1001)
	two.WantClosed(1001)
	other.Heartbeat()
	a.post("/api/disconnect", `{"socket_id":"nobody"}`).wantBody(t, `{"published":1}`)
}

// The presence service's lists, whole and in pages.
func testPresence(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	run(t, presenceBinary, nats, freeAddress(t), "PRESENCE_STORAGE=memory")
	joined := listen(t, nats, "phx.joined.>")
	a := start(t, doc, nats)
	a.get("/api/presence?topic=room:1").wantBody(t, `{}`)
	keys := []string{"a", "b", "error", "ü"}
	for _, key := range keys {
		a.dial("").Join("room:1", map[string]string{"name": key})
	}
	var all map[string]struct{ Metas []map[string]any }
	waitFor(t, "the presences", func() bool {
		got := a.get("/api/presence?topic=room:1")
		if err := json.Unmarshal([]byte(got.body), &all); err != nil {
			t.Fatalf("%s: %v", got.body, err)
		}
		return len(all) == len(keys)
	})
	update := fmt.Sprintf(`{"channel":%q,"meta":{"mood":"fine"}}`, joined.next().Header.Get("Phx-Channel"))
	if m, err := joined.nc.Request("phx.presence.update.room.1", []byte(update), phxtest.Patience()); err != nil || string(m.Data) != `{"status":"ok"}` {
		t.Fatalf("update: %v, %v", m, err)
	}
	if got := a.get("/api/presence?topic=room:1"); !strings.Contains(got.body, `"mood":"fine"`) || !strings.Contains(got.body, `"phx_ref_prev":`) {
		t.Errorf("after an update: %s", got.body)
	}
	var paged []string
	query := "topic=room:1&limit=3"
	for query != "" {
		var page struct {
			Presences map[string]any
			Next      *string
		}
		got := a.get("/api/presence?" + query)
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || len(page.Presences) == 0 {
			t.Fatalf("%s: %v", got.body, err)
		}
		for key := range page.Presences {
			paged = append(paged, key)
		}
		query = ""
		if page.Next != nil {
			query = "topic=room:1&limit=3&after=" + url.QueryEscape(*page.Next)
		}
	}
	if slices.Sort(paged); !slices.Equal(paged, keys) {
		t.Errorf("pages hold %q, want %q", paged, keys)
	}
}

// If one message of many is wrong, none is published.
func testAllOrNothing(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	seen := listen(t, nats, "phx.topic.>")
	a := start(t, doc, nats)
	good := `{"topic":"room:1","event":"e","payload":{}},`
	for place, bad := range map[string]string{
		"messages[4].topic: ":   `{"topic":"","event":"e","payload":{}}`,
		"messages[4].event: ":   `{"topic":"room:1","event":"phx_reply","payload":{}}`,
		"messages[4].payload: ": `{"topic":"room:1","event":"e","payload":[]}`,
		"messages[4].from: ":    `{"topic":"room:1","event":"e","payload":{},"from":"x"}`,
	} {
		a.post("/api/broadcast", `{"messages":[`+strings.Repeat(good, 4)+bad+`]}`).want(t, http.StatusBadRequest, place)
	}
	large := `{"topic":"room:1","event":"e","payload":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`
	a.post("/api/broadcast", `{"messages":[`+good+large+`]}`).want(t, http.StatusRequestEntityTooLarge, "messages[1].payload: larger than NATS takes")
	a.post("/api/broadcast", `{"topic":"room:1","event":"last","payload":{}}`).wantBody(t, `{"published":1}`)
	if m := seen.next(); string(m.Data) != `{"event":"last","payload":{}}` {
		t.Errorf("%s was published, of messages that were refused", m.Data)
	}
}

// The documented headers, and no others, go on with what is published.
func testTraceContext(t *testing.T, doc *document) {
	nats := phxtest.StartNATS(t)
	seen := listen(t, nats, "phx.>")
	seen.skip = "phx.fleet." // what gateways say to each other
	a := start(t, doc, nats)
	values := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1,b=2"}
	for path, body := range map[string]string{"/api/broadcast": `{"topic":"room:1","event":"e","payload":{}}`, "/api/disconnect": `{"socket_id":"x"}`, "/api/presence": ""} {
		method, query := http.MethodPost, ""
		if body == "" {
			method, query = http.MethodGet, "?topic=room:1"
		}
		_, route := doc.operation(path, method)
		headers, want := []string{"Content-Type", "application/json", "X-Other", "1", "Phx-Event", "e"}, map[string]string{}
		for _, p := range route.Operation.Parameters {
			if p.Value.In == "header" {
				headers, want[p.Value.Name] = append(headers, p.Value.Name, values[p.Value.Name]), values[p.Value.Name]
			}
		}
		a.do(method, path+query, body, headers...)
		m := seen.next()
		for name, value := range want {
			if m.Header.Get(name) != value {
				t.Errorf("%s: %s: %q, want %q", path, name, m.Header.Get(name), value)
			}
		}
		if n := len(m.Header); n != len(want) && !(path == "/api/disconnect" && n == len(want)+1) { // Phx-Action
			t.Errorf("%s: the headers %v, want %v", path, m.Header, want)
		}
	}
	for _, bad := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "x"} {
		a.do(http.MethodPost, "/api/broadcast", `{"topic":"room:1","event":"e","payload":{}}`, "Content-Type", "application/json", "traceparent", bad, "tracestate", "a=1").wantBody(t, `{"published":1}`)
		if m := seen.next(); len(m.Header) != 0 {
			t.Errorf("traceparent %s: the headers %v", bad, m.Header)
		}
	}
}
