package contracttest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// The programs under test, built once before the tests run and only read by
// them.
var gatewayBinary, presenceBinary string

// parallelTests is how many tests run at once where the command line says
// nothing: most of them wait for a timeout rather than compute.
const parallelTests = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallelTests); err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "contracttest")
	if err != nil {
		panic(err)
	}
	gatewayBinary, presenceBinary = filepath.Join(dir, "gateway"), filepath.Join(dir, "presence-svc")
	args := append([]string{"build", "-o", dir + "/"}, buildFlags...)
	build := exec.Command("go", append(args, "../../cmd/gateway", "../../cmd/presence-svc")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build ./cmd/...: %v\n%s", err, out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}
