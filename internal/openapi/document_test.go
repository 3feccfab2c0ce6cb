package openapi

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestDocument: what the gateway does is what docs/openapi.yaml says, and all of what it says.
func TestDocument(t *testing.T) {
	doc := loadDocument(t)
	t.Run("parts", func(t *testing.T) {
		for name, part := range map[string]func(*testing.T, *document){
			"broadcast": testBroadcast, "disconnect": testDisconnect, "presence": testPresence, "all or nothing": testAllOrNothing, "trace context": testTraceContext,
			"paths and methods": testPathsAndMethods, "request fields": testRequestFields, "parameters": testParameters,
			"unauthorized": testUnauthorized, "bodies": testBodies, "slow body": testSlowBody, "too large": testTooLarge,
			"denied": testDenied, "presence answers": testPresenceAnswers, "NATS is away": testAway, "NATS does not answer": testNoAnswer, "the gateway's end": testEnd,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); part(t, doc) })
		}
	})
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		doc.wantAllSeen(t)
	}
}

// document is docs/openapi.yaml, and which of its answers and their fields were seen.
type document struct {
	*openapi3.T
	mu   sync.Mutex // guards seen
	seen map[string]bool
}

func loadDocument(t *testing.T) *document {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return &document{T: spec, seen: map[string]bool{}}
}

// operation returns what is documented for a path; of a method that is not, the only one there is.
func (d *document) operation(path, method string) (method2 string, route *routers.Route) {
	item := d.Paths.Value(path)
	if item == nil {
		return "", nil
	}
	if item.GetOperation(method) == nil {
		method = slices.Collect(maps.Keys(item.Operations()))[0]
	}
	return method, &routers.Route{Spec: d.T, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method)}
}

// wantAllSeen fails for an answer that is documented and was never given, and for a field of one that was never there.
func (d *document) wantAllSeen(t *testing.T) {
	for path, item := range d.Paths.Map() {
		for method, operation := range item.Operations() {
			for status, response := range operation.Responses.Map() {
				line := method + " " + path + " " + status
				for _, name := range fieldsOf(response.Value.Content.Get("application/json").Schema.Value) {
					if !d.seen[line+" "+name] {
						t.Errorf("%s: the field %s is documented, and was never there", line, name)
					}
				}
				if !d.seen[line] {
					t.Errorf("%s is documented, and no test brought the gateway to answer so", line)
				}
			}
		}
	}
}

// note notes an answer and its fields.
func (d *document) note(line string, documented *openapi3.Response, body []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[line] = true
	for _, name := range fieldsOf(documented.Content.Get("application/json").Schema.Value) {
		if bytes.Contains(body, []byte(strconv.Quote(name)+":")) {
			d.seen[line+" "+name] = true
		}
	}
}

// fieldsOf are the names of all fields in a schema.
func fieldsOf(s *openapi3.Schema) (names []string) {
	for name, field := range s.Properties {
		names = append(append(names, name), fieldsOf(field.Value)...)
	}
	for _, one := range s.OneOf {
		names = append(names, fieldsOf(one.Value)...)
	}
	for _, inner := range []*openapi3.SchemaRef{s.Items, s.AdditionalProperties.Schema} {
		if inner != nil {
			names = append(names, fieldsOf(inner.Value)...)
		}
	}
	return names
}

// door is the API of one gateway.
type door struct {
	t     testing.TB
	doc   *document
	admin string
	token string
}

// answer is what the gateway said to a request, and what the document says to it.
type answer struct {
	status  int
	header  http.Header
	body    string
	refused error // why the document does not allow the request; nil: it does
}

// post posts JSON.
func (d *door) post(path, body string) *answer {
	d.t.Helper()
	return d.do(http.MethodPost, path, body, "Content-Type", "application/json")
}

func (d *door) get(path string) *answer {
	d.t.Helper()
	return d.do(http.MethodGet, path, "")
}

// do sends a request with the token, unless Authorization is among the headers, and wants an answer that is documented.
func (d *door) do(method, path, body string, headers ...string) *answer {
	d.t.Helper()
	request, err := http.NewRequest(method, "http://"+d.admin+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	for i := 0; i < len(headers); i += 2 {
		if request.Header.Del(headers[i]); headers[i+1] != "" {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	client := http.Client{Timeout: 4 * phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: phxtest.Patience()}}
	response, err := client.Do(request)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	request.Body = io.NopCloser(strings.NewReader(body))
	return d.check(request, response)
}

// check wants a response that is documented, and notes it.
func (d *door) check(request *http.Request, response *http.Response) *answer {
	d.t.Helper()
	text, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		d.t.Fatal(err)
	}
	got := &answer{status: response.StatusCode, header: response.Header, body: string(text)}
	method, route := d.doc.operation(request.URL.Path, request.Method)
	if route == nil {
		return got
	}
	if undocumented := method != request.Method; undocumented != (got.status == http.StatusMethodNotAllowed) && got.status != http.StatusUnauthorized {
		d.t.Errorf("%s %s: %d", request.Method, request.URL, got.status)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	input := &openapi3filter.RequestValidationInput{Request: request, Route: route, Options: options}
	if method == request.Method {
		got.refused = openapi3filter.ValidateRequest(context.Background(), input)
	}
	if got.status == http.StatusOK && got.refused != nil {
		d.t.Errorf("%s %s is taken, and the document does not allow it: %v", request.Method, request.URL, got.refused)
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.status, Header: got.header, Body: io.NopCloser(bytes.NewReader(text)), Options: options}
	if request.Method != http.MethodHead { // it has no body
		if err := openapi3filter.ValidateResponse(context.Background(), output); err != nil {
			d.t.Errorf("%s %s: the answer %d %.200s is not as documented: %v", request.Method, request.URL, got.status, text, err)
		}
		if documented := route.Operation.Responses.Status(got.status); documented != nil {
			d.doc.note(fmt.Sprintf("%s %s %d", method, request.URL.Path, got.status), documented.Value, text)
		}
	}
	return got
}

// want wants a status and, of an error, that its text begins with something.
func (a *answer) want(t testing.TB, status int, place string) {
	t.Helper()
	if a.status != status || !strings.HasPrefix(a.body, `{"error":`+strings.TrimSuffix(strconv.Quote(place), `"`)) {
		t.Errorf("%d %s, want %d and an error that begins with %q", a.status, a.body, status, place)
	}
}

// wantBody wants 200 and exactly a body.
func (a *answer) wantBody(t testing.TB, body string) {
	t.Helper()
	if a.status != http.StatusOK || a.body != body {
		t.Errorf("%d %s, want 200 %s", a.status, a.body, body)
	}
}

// wantAgreement wants a request to be taken if, and only if, the document allows it.
func (a *answer) wantAgreement(t testing.TB, what string) {
	t.Helper()
	var security *openapi3filter.SecurityRequirementsError
	if errors.As(a.refused, &security) {
		t.Fatal(security)
	}
	if (a.status == http.StatusOK) != (a.refused == nil) {
		t.Errorf("%s: the gateway answers %d %s, and the document says %v", what, a.status, a.body, a.refused)
	}
}
