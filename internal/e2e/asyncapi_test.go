package e2e

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// judge holds everything that passed against the document, in its order, and returns the messages of the document that were among it. What an exercise sent broken on purpose must not be in the document.
func (api *asyncAPI) judge(t *testing.T, passed []*nats.Msg, broken func(*nats.Msg) bool) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	asked := map[string][]string{} // reply subject → what may come there
	for _, m := range passed {
		candidates, ok := asked[m.Subject]
		if !ok {
			if !strings.HasPrefix(m.Subject, "phx.") || api.isInternal(m.Subject) {
				continue // NATS's own, answers to what is the programs' own, and that
			}
			at := slices.IndexFunc(api.channels, func(c apiChannel) bool { return c.subject.MatchString(m.Subject) })
			if at < 0 {
				t.Errorf("docs/asyncapi.yaml has no channel for %s", m.Subject)
				continue
			}
			candidates = api.channels[at].messages
			if m.Reply != "" {
				asked[m.Reply] = api.channels[at].replies
			}
		}
		switch name, err := api.check(candidates, m); {
		case broken(m):
			if err == nil {
				t.Errorf("%s %q is broken on purpose, and the document calls it %s", m.Subject, m.Data, name)
			}
		case err != nil:
			t.Errorf("%s %q %q: %v", m.Subject, m.Header, m.Data, err)
		default:
			seen[name] = true
		}
	}
	return seen
}

// TestAsyncAPI holds what passes on NATS while every subject of the contract is used against docs/asyncapi.yaml, and the document against what passed.
func TestAsyncAPI(t *testing.T) {
	api := loadAsyncAPI(t)
	b := startBench(t, exerciseRules)
	passed := b.record()
	e := newExercise(b)
	for _, each := range exercises {
		t.Run(each.name, func(t *testing.T) {
			own := *e
			own.t = t
			each.run(&own)
		})
	}
	if t.Failed() {
		return // what is missing is a consequence
	}
	seen := api.judge(t, passed(), e.isBroken)
	for _, name := range slices.Sorted(maps.Keys(api.messages)) {
		if !seen[name] {
			t.Errorf("docs/asyncapi.yaml: no %s was seen; an exercise is missing in asyncapi_exercises_test.go, or the document says what is not so", name)
		}
	}
	for _, pointer := range slices.Sorted(maps.Keys(api.used)) {
		if api.used[pointer] && api.later[pointer] {
			t.Errorf("docs/asyncapi.yaml: %s is x-later, and a message had it", pointer)
		}
		if !api.used[pointer] && !api.later[pointer] {
			t.Errorf("docs/asyncapi.yaml: no message had %s; an exercise is missing in asyncapi_exercises_test.go, or the document says what is not so", pointer)
		}
	}
}

// The document is AsyncAPI 3.0: it is held against the specification's own JSON schema.
func TestAsyncAPIDocument(t *testing.T) {
	needNode(t) // npm brings the schema
	tree := loadAsyncAPI(t).tree
	file := filepath.Join(jsDir, "node_modules", "@asyncapi", "specs", "schemas", "3.0.0.json")
	official, err := jsonschema.NewCompiler().Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Validate(tree); err != nil {
		t.Errorf("%#v", err)
	}
	tree.(map[string]any)["channels"] = "none"
	if official.Validate(tree) == nil {
		t.Error("the schema finds nothing wrong with a document without channels")
	}
}
