package nemesis

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// programsDir is where the programs are built, at the first call of the run.
var programsDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "phxgate-nemesis-") })

// builtPrograms builds the gateway and natsd, once, and returns their paths. The NATS server is never watched by the race detector: it is not under test.
var builtPrograms = sync.OnceValue(func() (built programs) {
	dir, err := programsDir()
	if err != nil {
		return programs{err: err}
	}
	built.gateway, built.natsd, built.presence = filepath.Join(dir, "gateway"), filepath.Join(dir, "natsd"), filepath.Join(dir, "presence-svc")
	for _, args := range [][]string{
		append(append([]string{"build", "-tags", os.Getenv("NEMESIS_PLANTED")}, buildFlags...), "-o", dir+"/", "../../cmd/gateway", "../../cmd/presence-svc"),
		{"build", "-o", built.natsd, "./natsd"},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return programs{err: fmt.Errorf("go %v: %w\n%s", args, err, out)}
		}
	}
	return built
})

// programs are the paths of what was built, or why they could not be.
type programs struct {
	gateway, presence, natsd string
	err                      error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := programsDir(); err == nil {
			os.RemoveAll(dir)
		}
		os.Exit(code)
	}))
}
