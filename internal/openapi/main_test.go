// Package openapi holds the gateway's HTTP API and docs/openapi.yaml against each other: the built programs, a NATS server, real clients. Every answer must be one that is documented, every documented path, field
// and status must be there, and what the document allows and what the gateway takes must be the same. It is a module of its own for the validator's sake.
package openapi

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// The programs, built once before the tests run and only read by them.
var gatewayBinary, presenceBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "openapi")
	if err != nil {
		panic(err)
	}
	gatewayBinary, presenceBinary = filepath.Join(dir, "gateway"), filepath.Join(dir, "presence-svc")
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/gateway", "./cmd/presence-svc")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ./cmd/gateway ./cmd/presence-svc: %v\n%s", err, out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}
