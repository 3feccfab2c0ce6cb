package nemesis

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// starter starts processes on one thread that lives until the test ends: with the thread the kernel ends its children, even where the test is killed.
type starter struct {
	starts chan func()
	done   sync.WaitGroup
}

func newStarter(t *testing.T) *starter {
	s := &starter{starts: make(chan func())}
	s.done.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for start := range s.starts {
			start()
		}
	})
	t.Cleanup(func() {
		close(s.starts)
		s.done.Wait()
	})
	return s
}

func (s *starter) start(cmd *exec.Cmd) (err error) {
	started := make(chan struct{})
	s.starts <- func() {
		err = cmd.Start()
		close(started)
	}
	<-started
	return err
}

// process is a program that may be killed and started again.
type process struct {
	t       *testing.T
	name    string
	starter *starter
	output  *tail // of all its lives

	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when this life has ended
}

func newProcess(t *testing.T, s *starter, name string) *process {
	p := &process{t: t, name: name, starter: s, output: &tail{}}
	t.Cleanup(func() {
		p.kill()
		text := p.output.String()
		switch {
		case strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:"):
			t.Errorf("%s:\n%s", name, text)
		case t.Failed():
			t.Logf("%s, the last of its output:\n%s", name, text)
		}
	})
	return p
}

// start begins a life with arguments and settings, and nothing else of this environment that the program would read.
func (p *process) start(program string, args []string, settings ...string) {
	p.t.Helper()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GORACE=exitcode=66 atexit_sleep_ms=0"}, settings...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = childAttributes()
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	if err := p.starter.start(p.cmd); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ProcessState tells how it ended
	}()
}

// signal sends one to a process that must be alive.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	select {
	case <-p.ended:
		p.t.Fatalf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
	default:
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: signal %v: %v", p.name, s, err)
	}
}

// kill ends a life with SIGKILL, if there is one, and waits for the end.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the whole group; it may be gone
	p.stdin.Close()
	<-p.ended
	p.cmd = nil
}

// tail keeps the last of what is written.
type tail struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// tailBytes are kept at least, twice as many at most.
const tailBytes = 16 << 10

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 2*tailBytes {
		o.buf.Next(o.buf.Len() - tailBytes)
	}
	return o.buf.Write(p)
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
