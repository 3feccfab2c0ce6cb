package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// asyncAPI is docs/asyncapi.yaml, as far as messages on NATS can be held against it.
type asyncAPI struct {
	tree     any // the whole, decoded from JSON
	channels []apiChannel
	internal []string          // subjects that are the programs' own; some end in ".>"
	messages map[string]schema // by name
	headers  map[string]bool   // that a message may have
	used     map[string]bool   // where a property is declared → whether a message had it
	later    map[string]bool   // those of used that no message has yet: x-later
}

// apiChannel is a channel with an address, and what may answer to its messages.
type apiChannel struct {
	address           string // phx.topic.{topic}
	subject           *regexp.Regexp
	messages, replies []string // names
}

// schema is what a message of the document asks for.
type schema struct {
	contentType      string
	headers, payload *jsonschema.Schema // nil: anything
}

// ref is a reference to another part of the document.
type ref struct {
	Ref string `json:"$ref"`
}

func (r ref) name() string { return r.Ref[strings.LastIndexByte(r.Ref, '/')+1:] }

// loadAsyncAPI reads the document.
func loadAsyncAPI(t *testing.T) *asyncAPI {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	api := &asyncAPI{messages: map[string]schema{}, headers: map[string]bool{}, used: map[string]bool{}, later: map[string]bool{}}
	if api.tree, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON)); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Internal []string `json:"x-internal"`
		Channels map[string]struct {
			Address              *string
			Parameters, Messages map[string]ref
		}
		Operations map[string]struct {
			Channel ref
			Reply   struct{ Messages []ref }
		}
		Components struct {
			Parameters map[string]struct {
				Pattern string `json:"x-pattern"`
			}
			Messages map[string]struct {
				ContentType      string
				Headers, Payload *json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(asJSON, &doc); err != nil {
		t.Fatal(err)
	}
	api.internal = doc.Internal
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7) // AsyncAPI's own schemas are a superset of it
	if err := compiler.AddResource("asyncapi.json", api.tree); err != nil {
		t.Fatal(err)
	}
	compile := func(there *json.RawMessage, pointer string) *jsonschema.Schema {
		if there == nil {
			return nil
		}
		compiled, err := compiler.Compile("asyncapi.json" + pointer)
		if err != nil {
			t.Fatal(err)
		}
		return compiled
	}
	for name, m := range doc.Components.Messages {
		api.messages[name] = schema{m.ContentType, compile(m.Headers, messagePointer(name)+"/headers"), compile(m.Payload, messagePointer(name)+"/payload")}
		api.use(messagePointer(name)+"/payload", nil)
		for _, property := range api.use(messagePointer(name)+"/headers", nil) {
			api.headers[property] = true
		}
	}

	for name, c := range doc.Channels {
		if c.Address == nil {
			continue // where replies go
		}
		pattern := regexp.QuoteMeta(*c.Address)
		for parameter, r := range c.Parameters {
			pattern = strings.Replace(pattern, regexp.QuoteMeta("{"+parameter+"}"), "("+doc.Components.Parameters[r.name()].Pattern+")", 1)
		}
		channel := apiChannel{address: *c.Address, subject: regexp.MustCompile("^" + pattern + "$")}
		for _, r := range c.Messages {
			channel.messages = append(channel.messages, r.name())
		}
		operated := false
		for _, o := range doc.Operations {
			if o.Channel.name() == name {
				operated = true
				for _, r := range o.Reply.Messages {
					channel.replies = append(channel.replies, r.name())
				}
			}
		}
		if !operated {
			t.Errorf("docs/asyncapi.yaml: no operation uses the channel %s", name)
		}
		api.channels = append(api.channels, channel)
	}
	return api
}

func messagePointer(name string) string { return "#/components/messages/" + name }

// at is the part of the document that a pointer names; nil if there is none.
func (api *asyncAPI) at(pointer string) any {
	node := api.tree
	for _, step := range strings.Split(pointer, "/")[1:] {
		switch parent := node.(type) {
		case map[string]any:
			node = parent[step]
		case []any:
			i, _ := strconv.Atoi(step) // written by use
			node = parent[i]
		}
	}
	return node
}

// resolve follows references; the node is nil where a schema is just true.
func (api *asyncAPI) resolve(pointer string) (string, map[string]any) {
	for {
		node, _ := api.at(pointer).(map[string]any)
		to, ok := node["$ref"].(string)
		if !ok {
			return pointer, node
		}
		pointer = to
	}
}

// isInternal tells whether a subject is the programs' own.
func (api *asyncAPI) isInternal(subject string) bool {
	return slices.ContainsFunc(api.internal, func(own string) bool {
		prefix, many := strings.CutSuffix(own, ">")
		return subject == own || many && strings.HasPrefix(subject, prefix)
	})
}

// use notes which of the properties that a schema declares a value has, and returns the names of those that it declares at its top. References are followed, so that what several messages share is declared once.
func (api *asyncAPI) use(pointer string, value any) (declared []string) {
	pointer, node := api.resolve(pointer)
	for _, combined := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := node[combined].([]any)
		for i := range list {
			declared = append(declared, api.use(fmt.Sprintf("%s/%s/%d", pointer, combined, i), value)...)
		}
	}
	object, _ := value.(map[string]any)
	properties, _ := node["properties"].(map[string]any)
	for name := range properties {
		own, ok := object[name]
		here := pointer + "/properties/" + name
		api.used[here] = api.used[here] || ok
		if _, schema := api.resolve(here); schema["x-later"] == true {
			api.later[here] = true
		}
		api.use(here, own)
		declared = append(declared, name)
	}
	if _, ok := node["additionalProperties"].(map[string]any); ok {
		api.use(pointer+"/additionalProperties", nil)
		for name, own := range object {
			if _, ok := properties[name]; !ok {
				api.use(pointer+"/additionalProperties", own)
			}
		}
	}
	if _, ok := node["items"].(map[string]any); ok {
		api.use(pointer+"/items", nil)
		list, _ := value.([]any)
		for _, own := range list {
			api.use(pointer+"/items", own)
		}
	}
	return declared
}

// check says which message of the document a message is; it is an error if it is none, or several.
func (api *asyncAPI) check(candidates []string, m *nats.Msg) (name string, err error) {
	var headers, body any
	var wrong []string
	for _, candidate := range candidates {
		switch h, b, err := api.messages[candidate].check(m); {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("%s: %v", candidate, err))
		case name != "":
			return "", fmt.Errorf("it is %s and %s", name, candidate)
		default:
			name, headers, body = candidate, h, b
		}
	}
	if name == "" {
		return "", fmt.Errorf("it is none of these:\n%s", strings.Join(wrong, "\n"))
	}
	api.use(messagePointer(name)+"/headers", headers)
	api.use(messagePointer(name)+"/payload", body)
	return name, nil
}

// check holds a message against the schemas of its headers and its body, and returns both as they were checked.
func (s schema) check(m *nats.Msg) (headers, body any, err error) {
	named := map[string]any{}
	for key, values := range m.Header {
		if len(values) != 1 {
			return nil, nil, fmt.Errorf("header %s: %q", key, values)
		}
		named[key] = values[0]
	}
	body = string(m.Data)
	if s.contentType == "" { // the document's default
		if body, err = jsonschema.UnmarshalJSON(bytes.NewReader(m.Data)); err != nil {
			return nil, nil, err
		}
	}
	if s.headers != nil {
		if err := s.headers.Validate(named); err != nil {
			return nil, nil, fmt.Errorf("headers: %w", err)
		}
	}
	if s.payload != nil {
		err = s.payload.Validate(body)
	}
	return named, body, err
}
