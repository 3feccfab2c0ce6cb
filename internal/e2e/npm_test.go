package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	jsDir = "js"
	// installTimeout bounds npm ci, and the build of the nats CLI; scaled.
	installTimeout = 2 * time.Minute
)

// installed installs the packages that the scripts import, at the first call of the run. It is a value that is worked out when it is needed, and never
// changes.
var installed = sync.OnceValue(func() error { return install(jsDir) })

// needNode skips the test unless Node is there and the scripts' packages are installed.
func needNode(t *testing.T) {
	t.Helper()
	if err := installed(); err != nil {
		unavailable(t, "the scripts cannot run: %v", err)
	}
}

// install runs npm ci in a directory unless node_modules is what package.json and the lock file ask for.
func install(dir string) error {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	// The test cache must know of the scripts, see lookAtSources.
	if _, err := os.ReadDir(dir); err != nil {
		return err
	}
	want, err := manifest(dir)
	if err != nil {
		return err
	}
	stamp := filepath.Join(dir, "node_modules", ".installed")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return nil
	}
	if _, err := download(dir, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
}

// download runs a command that may have to download and build much, and returns its standard output.
func download(dir, name string, args ...string) ([]byte, error) {
	limit := phxtest.Scaled(installTimeout)
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("not done within %v", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.WaitDelay = 5 * time.Second // for children that keep the output open
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s%s", cmd.Args, cmp.Or(context.Cause(ctx), err), out, stderr.Bytes())
	}
	return out, nil
}

// manifest is a hash of what decides the contents of node_modules.
func manifest(dir string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// The lock files are to hold for any registry, a mirror too: versions and hashes, no addresses. And package.json is to name versions, not ranges.
func TestLockFiles(t *testing.T) {
	for dir, want := range map[string]int{jsDir: 6, chatNodeDir: 2} {
		testLockFile(t, dir, want)
	}
}

func testLockFile(t *testing.T, dir string, dependencies int) {
	text, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`"resolved"|https?:|git\+|file:`).Find(text); found != nil {
		t.Errorf("%s: package-lock.json contains %s", dir, found)
	}
	var lock struct {
		Packages map[string]struct {
			Version, Integrity string
			Dependencies       map[string]string
		}
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	exact := regexp.MustCompile(`^(npm:phoenix@)?\d+\.\d+\.\d+$`)
	for name, version := range lock.Packages[""].Dependencies {
		if !exact.MatchString(version) {
			t.Errorf("%s: %q is no exact version", name, version)
		}
		if p := lock.Packages["node_modules/"+name]; p.Integrity == "" || !bytes.HasSuffix([]byte(version), []byte(p.Version)) {
			t.Errorf("%s: locked to %q with the hash %q, want %s", name, p.Version, p.Integrity, version)
		}
	}
	if n := len(lock.Packages[""].Dependencies); n != dependencies {
		t.Errorf("%s: %d dependencies in the lock file, want %d", dir, n, dependencies)
	}
}
