package openapi

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// curlLine is a command of docs/backends.md, with the answer that stands behind it as a comment.
var curlLine = regexp.MustCompile(`(?m)^    (curl .*?) +# (.*)$`)

// The curl lines of docs/backends.md do what stands there.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "backends.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := curlLine.FindAllStringSubmatch(string(text), -1)
	nats := phxtest.StartNATS(t)
	run(t, presenceBinary, nats, freeAddress(t), "PRESENCE_STORAGE=memory")
	a := start(t, loadDocument(t), nats)
	c := a.dial("")
	c.Join("room:lobby", struct{}{})
	seen := map[string]bool{}
	for _, line := range lines {
		command := strings.ReplaceAll(line[1], "localhost:9090", a.admin)
		if command == line[1] {
			t.Errorf("%s: not at localhost:9090", command)
			continue
		}
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(os.Environ(), "API_TOKEN="+token)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != line[2] {
			t.Errorf("%s\nprints %s (%v), documented: %s", command, out, err, line[2])
		}
		seen[regexp.MustCompile(`/api/\w+`).FindString(command)] = true
		if strings.Contains(command, "/api/broadcast") {
			c.WantUntil(`[null,null,"room:lobby","new_msg",{"body":"hi"}]`)
		}
	}
	for path := range a.doc.Paths.Map() {
		if !seen[path] {
			t.Errorf("docs/backends.md has no curl line for %s", path)
		}
	}
}
