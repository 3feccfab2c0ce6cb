// Package layout keeps the tree's shape.
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/phxgate/phxgate/"

// allowed are the imports of each package beside the standard library: of the product, and of others by prefix. Files that are parsed, not `go list`: the test
// cache sees those.
var allowed = map[string][]string{
	"gateway/phx":   {},
	"gateway/rules": {module + "gateway/phx", "go.yaml.in/yaml/v3", "github.com/google/cel-go/"},
	"gateway":       {module + "gateway/phx", module + "gateway/rules", module + "internal/planted", "github.com/gobwas/ws", "github.com/gobwas/ws/wsflate", "github.com/gobwas/httphead", "github.com/klauspost/compress/flate", "github.com/pires/go-proxyproto", "golang.org/x/sys/unix", "golang.org/x/time/rate", "go.opentelemetry.io/otel/"},
	"authz":         {module + "authz/etf", module + "gateway/phx", "github.com/go-jose/go-jose/v4"},
	"authz/etf":     {module + "gateway/phx"},
	"presence":      {module + "gateway/phx", module + "internal/planted", module + "internal/figures", "go.opentelemetry.io/otel/"},
	"nats": {module + "internal/api", module + "internal/planted", module + "internal/figures", module + "gateway", module + "presence", module + "gateway/phx", module + "authz", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream", "github.com/nats-io/nats-server/v2/server",
		"golang.org/x/time/rate", "go.opentelemetry.io/otel/"},
	"internal/api":     {module + "gateway/phx", "go.opentelemetry.io/otel/"},
	"cmd/gateway":      {module + "authz", module + "gateway", module + "presence", module + "gateway/rules", module + "nats", module + "internal/", "golang.org/x/sync/errgroup"},
	"cmd/presence-svc": {module + "nats", module + "presence", module + "internal/", "golang.org/x/sync/errgroup"},

	// A module of its own, of which nothing above knows.
	"backend":               {module + "backend/internal/wire", "github.com/nats-io/nats.go"},
	"backend/backendtest":   {module + "backend", module + "backend/internal/wire", "github.com/nats-io/nats.go"},
	"backend/internal/wire": {},
}

func TestImports(t *testing.T) {
	for dir, list := range allowed {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, imported := range importsOf(t, file) {
				if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
					continue // the standard library
				}
				if !isAllowed(imported, list) {
					t.Errorf("%s imports %s, which package %s must not", file, imported, dir)
				}
			}
		}
	}
}

func isAllowed(imported string, list []string) bool {
	for _, a := range list {
		if imported == a || strings.HasSuffix(a, "/") && strings.HasPrefix(imported, a) {
			return true
		}
	}
	return false
}

// TestEveryPackageIsListed fails for a new package of the product that has no line above.
func TestEveryPackageIsListed(t *testing.T) {
	for _, root := range []string{"gateway", "nats", "authz", "presence", "cmd", "backend"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if strings.HasSuffix(path, ".go") {
				dir := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), filepath.Join("../..")+string(filepath.Separator)))
				if _, ok := allowed[dir]; !ok {
					t.Errorf("package %s is not listed in this test", dir)
					return fs.SkipDir
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func importsOf(t *testing.T, file string) (paths []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}
