package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// methods are all that HTTP has, CONNECT aside.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}

// The paths and methods that are there are those that are documented.
func testPathsAndMethods(t *testing.T, doc *document) {
	a := start(t, doc, phxtest.StartNATS(t))
	nowhere := a.get("/api/nowhere")
	nowhere.want(t, http.StatusNotFound, "there are ")
	if got, want := listIn(t, nowhere.body, `there are ([^"]*)`), slices.Sorted(maps.Keys(doc.Paths.Map())); !slices.Equal(got, want) {
		t.Errorf("the gateway has the paths %v, the document has %v", got, want)
	}
	for _, path := range []string{"/api", "/api/", "/api/broadcast/", "/API/broadcast", "/broadcast"} {
		if got := a.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	for path, item := range doc.Paths.Map() {
		for _, method := range methods {
			got := a.do(method, path, "")
			documented := item.GetOperation(method) != nil
			if documented == (got.status == http.StatusMethodNotAllowed) {
				t.Errorf("%s %s: %d, documented: %v", method, path, got.status, documented)
			}
			if allow := got.header.Get("Allow"); !documented && item.GetOperation(allow) == nil {
				t.Errorf("%s %s: Allow: %q", method, path, allow)
			}
		}
	}
}

// samples are a value, valid in JSON, for each field of each documented body.
var samples = map[string]map[string]string{
	"Message":       {"topic": `"room:1"`, "event": `"new_msg"`, "payload": `{"a":1}`, "encoding": `"json"`, "from": `"g.s.1"`},
	"BinaryMessage": {"topic": `"room:1"`, "event": `"new_msg"`, "payload": `"AAEC"`, "encoding": `"binary"`, "from": `"g.s.1"`},
	"Messages":      {"messages": `[{"topic":"room:1","event":"e","payload":{}}]`},
	"Disconnect":    {"socket_id": `"user:1"`},
}

// others are values that most fields refuse.
var others = []string{`null`, `1`, `true`, `""`, `"x"`, `"json"`, `"a.b.c"`, `{}`, `{"a":1}`, `[]`, `[{}]`, `[1]`, `["x"]`}

// The fields of requests are those that are documented; which ones may be absent, and what each may hold, too.
func testRequestFields(t *testing.T, doc *document) {
	a := start(t, doc, phxtest.StartNATS(t))
	for path, schemas := range map[string][]string{"/api/broadcast": {"Message", "BinaryMessage", "Messages"}, "/api/disconnect": {"Disconnect"}} {
		documented := map[string]bool{}
		for _, name := range schemas {
			fields := doc.Components.Schemas[name].Value.Properties
			if got, want := slices.Sorted(maps.Keys(samples[name])), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
				t.Fatalf("there are samples of %v, and %s has %v", got, name, want)
			}
			for field := range fields {
				documented[field] = true
			}
			tryFields(t, samples[name], func(body string) *answer { return a.post(path, body) })
		}
		known := a.post(path, `{"unheard of":1}`)
		known.want(t, http.StatusBadRequest, `body: unknown field `)
		wantSame(t, path, listIn(t, known.body, `\(want ([^)]*)\)`), documented)
	}
	documented := map[string]bool{}
	for _, name := range []string{"Message", "BinaryMessage"} {
		for field := range samples[name] {
			documented[field] = true
		}
		tryFields(t, samples[name], func(message string) *answer {
			return a.post("/api/broadcast", `{"messages":[`+message+`]}`)
		})
	}
	known := a.post("/api/broadcast", `{"messages":[{"unheard of":1}]}`)
	known.want(t, http.StatusBadRequest, `messages[0]: unknown field `)
	wantSame(t, "messages[]", listIn(t, known.body, `\(want ([^)]*)\)`), documented)
	for place, body := range map[string]string{
		"body":        `{"topic":"room:1","event":"e","payload":{},"messages":[{"topic":"room:1","event":"e","payload":{}}]}`,
		"messages[0]": `{"messages":[1]}`, "messages[1].payload": `{"messages":[{"topic":"room:1","event":"e","payload":{}},{"topic":"room:1","event":"e","payload":1}]}`,
		"messages": `{"messages":[]}`,
	} {
		got := a.post("/api/broadcast", body)
		got.want(t, http.StatusBadRequest, place)
		got.wantAgreement(t, body)
	}
	// What the document cannot say, or its validator does not see.
	for place, body := range map[string]string{
		"body: topic":                    `{"topic":"room:1","topic":"room:2","event":"e","payload":{}}`,
		"topic: want":                    `{"topic":"` + strings.Repeat("é", 128) + `","event":"e","payload":{}}`, // 256 bytes
		"payload: more than 1000 levels": `{"topic":"room:1","event":"e","payload":` + strings.Repeat(`{"a":`, 1000) + `{}` + strings.Repeat(`}`, 1000) + `}`,
	} {
		a.post("/api/broadcast", body).want(t, http.StatusBadRequest, place)
	}
	boundaries(t, a)
}

// boundaries tries the ends of the documented limits.
func boundaries(t *testing.T, a *arena) {
	x := func(n int) string { return strings.Repeat("x", n) }
	message := func(topic, event string) string {
		return fmt.Sprintf(`{"topic":%q,"event":%q,"payload":{}}`, topic, event)
	}
	for body, path := range map[string]string{
		message(x(255), "e"): "/api/broadcast", message(x(256), "e"): "/api/broadcast",
		message("a"+strings.Repeat(":", 15), "e"): "/api/broadcast", message("a"+strings.Repeat(":", 16), "e"): "/api/broadcast",
		message("room:1", x(255)): "/api/broadcast", message("room:1", x(256)): "/api/broadcast", message("room:1", "phx_close"): "/api/broadcast", message("room:1", "xphx_"): "/api/broadcast",
		`{"topic":"room:1","event":"e","payload":{},"from":"a.b.` + x(251) + `"}`: "/api/broadcast", `{"topic":"room:1","event":"e","payload":{},"from":"a.b.` + x(252) + `"}`: "/api/broadcast",
		`{"topic":"room:1","event":"e","payload":"AAE","encoding":"binary"}`: "/api/broadcast", `{"topic":"room:1","event":"e","payload":"AAE=","encoding":"binary"}`: "/api/broadcast", `{"topic":"room:1","event":"e","payload":"AAF=","encoding":"binary"}`: "/api/broadcast", `{"topic":"room:1","event":"e","payload":"AA\nEC","encoding":"binary"}`: "/api/broadcast", `{"topic":"room:1","event":"e","payload":"AB==","encoding":"binary"}`: "/api/broadcast", `{"topic":"room:1","event":"e","payload":"_-==","encoding":"binary"}`: "/api/broadcast",
		`{"topic":"room:1","event":"e","payload":"","encoding":"binary"}`:                                 "/api/broadcast",
		`{"messages":[` + strings.Repeat(message("room:1", "e")+",", 999) + message("room:1", "e") + `]}`: "/api/broadcast", `{"messages":[` + strings.Repeat(message("room:1", "e")+",", 1000) + message("room:1", "e") + `]}`: "/api/broadcast",
		`{"socket_id":"` + x(255) + `"}`: "/api/disconnect", `{"socket_id":"` + x(256) + `"}`: "/api/disconnect",
	} {
		a.post(path, body).wantAgreement(t, fmt.Sprintf("%s %.80s… (%d bytes)", path, body, len(body)))
	}
}

// tryFields sends an object with all fields of a sample, without each of them, and with other values in their place, and wants gateway and document to agree about each.
func tryFields(t *testing.T, sample map[string]string, send func(object string) *answer) {
	t.Helper()
	all := send(object(sample))
	if all.wantAgreement(t, object(sample)); all.status != http.StatusOK {
		t.Errorf("%s: %d %s", object(sample), all.status, all.body)
	}
	for field := range sample {
		without := maps.Clone(sample)
		delete(without, field)
		send(object(without)).wantAgreement(t, object(without))
		for _, value := range others {
			changed := maps.Clone(sample)
			changed[field] = value
			got := send(object(changed))
			got.wantAgreement(t, object(changed))
			if got.status != http.StatusOK && !strings.Contains(got.body, field) && !strings.Contains(got.body, "payload") { // another encoding makes the payload wrong
				t.Errorf("%s: %s does not name the field", object(changed), got.body)
			}
		}
	}
}

// Parameters are those that are documented, with what they may hold.
func testParameters(t *testing.T, doc *document) {
	url2 := phxtest.StartNATS(t)
	answerPresence(t, url2, ">", `{}`)
	a := start(t, doc, url2)
	documented := map[string]bool{}
	for _, p := range doc.Paths.Value("/api/presence").Get.Parameters {
		if p.Value.In == "query" {
			documented[p.Value.Name] = true
		}
	}
	known := a.get("/api/presence?unheard=1")
	known.want(t, http.StatusBadRequest, "query: unknown parameter ")
	wantSame(t, "/api/presence", listIn(t, known.body, `\(want ([^)]*)\)`), documented)
	long := strings.Repeat("x", 255)
	for _, query := range []string{
		"topic=room:1", "", "topic=", "topic=" + long, "topic=x" + long, "topic=a" + strings.Repeat(":", 15), "topic=a" + strings.Repeat(":", 16),
		"topic=room:1&after=" + long, "topic=room:1&after=x" + long, "topic=room:1&after=" + url.QueryEscape("ä b&c"),
		"topic=room:1&limit=1", "topic=room:1&limit=0", "topic=room:1&limit=100000", "topic=room:1&limit=100001", "topic=room:1&limit=-1", "topic=room:1&limit=x", "topic=room:1&limit=1.5",
	} {
		a.get("/api/presence?"+query).wantAgreement(t, query)
	}
	for query, place := range map[string]string{"topic=a&topic=b": "topic: ", "topic=%zz": "query: ", "topic=%ff": "topic: not UTF-8", "after=a": "topic: missing", "topic=a&limit=": "limit: "} {
		a.get("/api/presence?"+query).want(t, http.StatusBadRequest, place)
	}
}

// object writes JSON of fields whose values are JSON.
func object(fields map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		parts = append(parts, fmt.Sprintf("%q:%s", name, fields[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// listIn finds a list of names in the text of an error.
func listIn(t *testing.T, body, pattern string) []string {
	t.Helper()
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	m := regexp.MustCompile(pattern).FindStringSubmatch(e.Error)
	if m == nil {
		t.Fatalf("%s has no list of names", body)
	}
	names := strings.Split(m[1], ", ")
	slices.Sort(names)
	return names
}

func wantSame(t *testing.T, what string, gateway []string, documented map[string]bool) {
	t.Helper()
	if want := slices.Sorted(maps.Keys(documented)); !slices.Equal(gateway, want) {
		t.Errorf("%s: the gateway knows %v, the document %v", what, gateway, want)
	}
}
