package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/phxgate/phxgate/internal/clustertest"
)

// command is a command of the nats CLI, as a document tells to type it. A variable of the shell stands in it as it is written.
type command struct {
	line     string // for sh
	variable string // of the shell, which the command sets; often none
	verb     string // sub, pub, reply, request
	subject  string
	body     string
	queue    string
	header   map[string]string
}

// documented are the commands in code blocks of the docs, without their comments, each once.
func documented(t *testing.T) (commands []command) {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	inBlock := regexp.MustCompile(`(?m)^ {4}((?:[A-Z]+=\$\()?nats (?:sub|pub|reply|request) .*?)(?: +# .*)?$`)
	for _, file := range append(files, root+"/README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range inBlock.FindAllStringSubmatch(string(text), -1) {
			if line := match[1]; !slices.ContainsFunc(commands, func(c command) bool { return c.line == line }) {
				commands = append(commands, parseCommand(line))
			}
		}
	}
	return commands
}

// parseCommand reads a command: `nats reply --queue chat 'phx.event.like.room.>' '{"id":1}' -H Phx-Status:ok`, or one whose output goes into a variable.
func parseCommand(line string) command {
	c := command{line: line, header: map[string]string{}}
	if m := regexp.MustCompile(`^([A-Z]+)=\$\((.*?) \|`).FindStringSubmatch(line); m != nil {
		c.variable, line = m[1], m[2]
	}
	words := shellWords(line)
	c.verb = words[1]
	var named []string
	for i := 2; i < len(words); i++ {
		if !strings.HasPrefix(words[i], "-") || i+1 == len(words) {
			named = append(named, words[i])
			continue
		}
		option, value := words[i], words[i+1]
		i++
		switch option {
		case "-H":
			name, value, _ := strings.Cut(value, ":")
			c.header[name] = value
		case "--queue":
			c.queue = value
		}
	}
	named = append(named, "", "")
	c.subject, c.body = named[0], named[1]
	return c
}

// shellWords splits a line as sh does, single quotes being the only ones.
func shellWords(line string) (words []string) {
	var word strings.Builder
	quoted, begun := false, false
	for _, c := range line + " " {
		switch {
		case c == '\'':
			quoted, begun = !quoted, true
		case c == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	return words
}

// natsCLI is the directory of the nats CLI, which Go builds at the first call ever and keeps in its build cache.
func natsCLI(t *testing.T) string {
	t.Helper()
	out, err := download(root+"/tools/nats", "go", "tool", "-n", "nats")
	if err != nil {
		unavailable(t, "the nats CLI cannot be built: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// running is a command in a shell.
type running struct {
	t    *testing.T
	line string
	mu   sync.Mutex
	out  strings.Builder // of both streams; guarded by mu
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func (r *running) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// wantOutput waits until the command has said all that.
func (r *running) wantOutput(parts ...string) {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s\n%s", r.line, r.output())
		}
	}()
	for _, part := range parts {
		clustertest.WaitFor(r.t, fmt.Sprintf("the output %q", part), func() bool { return strings.Contains(r.output(), part) })
	}
}

// inShell makes a command; its processes are a group.
func (con *console) inShell(line string) (*running, *exec.Cmd) {
	r := &running{t: con.t, line: line}
	cmd := exec.Command("sh", "-c", line)
	cmd.Env, cmd.Stdout, cmd.Stderr = con.env, r, r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return r, cmd
}

// run runs a command that ends by itself, well.
func (con *console) run(line string) *running {
	con.t.Helper()
	r, cmd := con.inShell(line)
	if err := cmd.Run(); err != nil {
		con.t.Fatalf("%s: %v\n%s", line, err, r.output())
	}
	return r
}

// start starts a command that goes on until the test ends.
func (con *console) start(line string) *running {
	con.t.Helper()
	r, cmd := con.inShell(line)
	if err := cmd.Start(); err != nil {
		con.t.Fatal(err)
	}
	con.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                                      // as it was told
	})
	return r
}
