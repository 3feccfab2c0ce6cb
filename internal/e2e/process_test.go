package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// root is the module's directory.
const root = "../.."

// builtDir is where the programs are built, at the first call of the run.
var builtDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "phxgate-e2e-") })

// builtPrograms builds the programs of cmd/ at the first call of the run, and returns their directory.
var builtPrograms = sync.OnceValues(func() (string, error) {
	if err := lookAtSources(); err != nil {
		return "", err
	}
	return build(root, "./cmd/...")
})

// build builds programs of a module into builtDir, which it returns.
func build(module, packages string) (string, error) {
	dir, err := builtDir()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir+"/", packages)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", packages, err, out)
	}
	return dir, nil
}

// lookAtSources lists every directory of the module. The test cache knows only what a test opens, and not what go build reads for it: a result must not be
// taken from the cache when a source has changed.
func lookAtSources() error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root && (entry.Name() == "node_modules" || entry.Name()[0] == '.') {
			return filepath.SkipDir
		}
		return err
	})
}

// removePrograms removes what was built.
func removePrograms() {
	if dir, err := builtDir(); err == nil {
		os.RemoveAll(dir)
	}
}

// process is one of the programs, or an example's backend, as a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output bytes.Buffer  // of both streams; not to be read before ended is closed
	ended  chan struct{} // closed when the process has ended
}

// startProcess starts a gateway with arguments and settings, and nothing else of this environment that it would read. It ends with the test, and so does
// all that it started.
func startProcess(t *testing.T, args []string, settings ...string) *process {
	t.Helper()
	return startProgram(t, "gateway", args, settings...)
}

// startProgram is startProcess for any program of cmd/.
func startProgram(t *testing.T, name string, args []string, settings ...string) *process {
	t.Helper()
	dir, err := builtPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, exec.Command(filepath.Join(dir, name), args...), settings...)
}

// startCommand is startProcess for any command.
func startCommand(t *testing.T, cmd *exec.Cmd, settings ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, settings...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children can be killed with it
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // ProcessState tells how it ended
	}()
	t.Cleanup(p.end)
	return p
}

// end drains the process; one that does not end is killed, and that is a failure.
func (p *process) end() {
	select {
	case <-p.ended:
	default:
		p.signal(syscall.SIGTERM)
		p.wantEnd(0)
	}
	if p.t.Failed() {
		p.t.Logf("output of %v:\n%s", p.cmd.Args, p.output.String())
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// wantEnd waits until the process has ended, with that status (-1: killed).
func (p *process) wantEnd(status int) {
	p.t.Helper()
	late := time.NewTimer(3 * phxtest.Patience())
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the whole group
		<-p.ended
		p.t.Errorf("%v did not end by itself", p.cmd.Args)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Errorf("%v ended with status %d, want %d", p.cmd.Args, got, status)
	}
}

// waitForOK waits until GET url answers 200.
func waitForOK(t *testing.T, url string) {
	t.Helper()
	clustertest.WaitFor(t, "GET "+url, func() bool { return isOK(url) })
}

func isOK(url string) bool {
	client := http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// freePorts returns the first of n ports in a row that nobody listens on, below the range that outgoing connections take theirs from.
func freePorts(t *testing.T, n int) int {
	t.Helper()
next:
	for range 1000 {
		first := 10_000 + rand.IntN(20_000)
		for port := first; port < first+n; port++ {
			ln, err := net.Listen("tcp", local(port))
			if err != nil {
				continue next
			}
			ln.Close()
		}
		return first
	}
	t.Fatal("no free ports")
	return 0
}

// local is the address of a port of this machine.
func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
