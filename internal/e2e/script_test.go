package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// finding is one line of a script: its name, and the fields as they came.
type finding struct {
	Name   string `json:"finding"`
	fields json.RawMessage
}

// into decodes the finding's fields.
func (f finding) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(f.fields, v); err != nil {
		t.Fatalf("finding %s: %v", f.fields, err)
	}
}

// script is a running script of js/. Its methods belong to the test's goroutine.
type script struct {
	t        *testing.T
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	findings chan finding // closed when the script's output has ended
	stderr   bytes.Buffer // not to be read before that
	wait     func() error
}

// runScript starts js/<name> with a target. The script is ended when limit has passed, or the test ends.
func runScript(t *testing.T, name string, target any, limit time.Duration) *script {
	t.Helper()
	argument, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	s := &script{t: t, cmd: exec.CommandContext(ctx, "node", name, string(argument)), findings: make(chan finding, 64)}
	s.cmd.Dir, s.cmd.Stderr = jsDir, &s.stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) } // upon which a browser is closed
	s.cmd.WaitDelay = 5 * time.Second                                            // to SIGKILL
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		cancel()
		t.Fatalf("node %s: %v", name, err)
	}
	s.wait = sync.OnceValue(func() error {
		for range s.findings { // Wait must not be called before the output was read
		}
		return s.cmd.Wait()
	})
	t.Cleanup(func() {
		cancel()
		_ = s.wait() // a script that the test did not see to its end was ended
	})
	go func() {
		defer close(s.findings)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			f := finding{fields: bytes.Clone(lines.Bytes())}
			if json.Unmarshal(f.fields, &f) != nil {
				f.Name = "not a finding: " + lines.Text()
			}
			s.findings <- f
		}
	}()
	return s
}

// tell writes a line for the script to read.
func (s *script) tell(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.stdin, line+"\n"); err != nil {
		s.t.Errorf("tell the script %q: %v", line, err)
	}
}

// next is the next finding; false when the script has ended.
func (s *script) next() (finding, bool) {
	f, ok := <-s.findings
	return f, ok
}

// want waits for the next finding, which must have that name, and decodes its fields into v unless that is nil.
func (s *script) want(name string, v any) {
	s.t.Helper()
	f, ok := s.next()
	if !ok || f.Name != name {
		_ = s.wait() // whatever it is, the finding is the failure
		s.t.Fatalf("want the finding %q, got %s\n%s", name, f.fields, s.stderr.String())
	}
	if v != nil {
		f.into(s.t, v)
	}
}

// wantEnd waits until the script has ended, without further findings and with status 0.
func (s *script) wantEnd() {
	s.t.Helper()
	var more []string
	for f, ok := s.next(); ok; f, ok = s.next() {
		more = append(more, string(f.fields))
	}
	if err := s.wait(); err != nil || len(more) > 0 {
		s.t.Fatalf("script ended: %v, after %q\n%s", err, more, strings.TrimSpace(s.stderr.String()))
	}
}

// wantOK wants the finding of a scenario that went well.
func (s *script) wantOK(name string) {
	s.t.Helper()
	var result struct {
		OK    bool
		Error string
	}
	s.want(name, &result)
	if !result.OK {
		_ = s.wait() // the error that the script found is the failure
		s.t.Fatalf("%s: %s\n%s", name, result.Error, s.stderr.String())
	}
}
