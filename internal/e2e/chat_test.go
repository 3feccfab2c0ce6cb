package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	chatNodeDir = root + "/examples/chat-node"
	// moderatorToken is what js/chat.mjs connects its moderator with.
	moderatorToken = "secret"
)

// TestChatExamples runs the scenarios of js/chat.mjs with both backends of examples/, each started as a person would.
func TestChatExamples(t *testing.T) {
	needNode(t)
	if _, err := exec.LookPath("make"); err != nil {
		unavailable(t, "%v", err)
	}
	t.Run("go", func(t *testing.T) {
		c := startChat(t, "example-chat-go")
		c.test()
		t.Run("page", func(t *testing.T) { c.testPage(t, needChromium(t)) })
	})
	t.Run("node", func(t *testing.T) {
		if err := install(chatNodeDir); err != nil {
			unavailable(t, "the example cannot run: %v", err)
		}
		unit := exec.Command("node", "--test", "backend.test.js")
		unit.Dir = chatNodeDir
		if out, err := unit.CombinedOutput(); err != nil {
			t.Fatalf("node --test: %v\n%s", err, out)
		}
		startChat(t, "example-chat-node").test()
	})
}

// chatExample is an example as its make target runs it: gateway dev and a backend.
type chatExample struct {
	t        *testing.T
	target   string   // of make
	settings []string // for all of it
	nc       *nats.Conn
	port     int // of the gateway; the admin port and the backend's page follow
	make     *process
}

func startChat(t *testing.T, target string) *chatExample {
	t.Helper()
	url := phxtest.StartNATS(t)
	c := &chatExample{t: t, target: target, nc: dialNATS(t, url), port: freePorts(t, 3)}
	c.settings = []string{
		"NATS_URL=" + url, "LISTEN=" + local(c.port), "ADMIN_LISTEN=" + local(c.port+1), "PAGE_LISTEN=" + local(c.port+2),
		"DB_FILE=" + filepath.Join(t.TempDir(), "chat.db"), "MODERATOR_TOKEN=" + moderatorToken,
	}
	for _, setting := range os.Environ() { // for the builds
		if strings.HasPrefix(setting, "GO") || strings.HasPrefix(setting, "npm_") {
			c.settings = append(c.settings, setting)
		}
	}
	c.start()
	return c
}

// start runs the make target and waits until somebody can come in.
func (c *chatExample) start() {
	c.t.Helper()
	cmd := exec.Command("make", c.target)
	cmd.Dir = root
	c.make = startCommand(c.t, cmd, c.settings...)
	c.t.Cleanup(c.stop)
	deadline := time.Now().Add(phxtest.Scaled(installTimeout)) // for builds
	for _, wait := range []func() bool{
		func() bool {
			answer, err := c.nc.Request("phx.authz.connect", []byte(`{"params":{}}`), phxtest.Patience())
			return err == nil && len(answer.Data) > 0
		},
		func() bool { return isOK("http://" + local(c.port+1) + "/readyz") },
		func() bool { return isOK(c.page("Ann", "lobby")) },
	} {
		for !wait() {
			if time.Now().After(deadline) {
				c.t.Fatalf("make %s: not ready after %v", c.target, phxtest.Scaled(installTimeout))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// stop ends make, as kill does, and wants that nothing is left of what it started.
func (c *chatExample) stop() {
	c.t.Helper()
	select {
	case <-c.make.ended:
		return
	default:
	}
	c.make.signal(syscall.SIGTERM)
	c.make.wantEnd(-1)
	clustertest.WaitFor(c.t, "the end of all that make started", func() bool {
		return errors.Is(syscall.Kill(-c.make.cmd.Process.Pid, 0), syscall.ESRCH)
	})
}

// test runs the scenarios, then starts all anew and wants what was said to be there.
func (c *chatExample) test() {
	c.t.Helper()
	c.script(false, "messages", "typing", "presence", "moderation", "mute", "mistakes")
	c.stop()
	c.start()
	c.script(true, "after the restart")
}

func (c *chatExample) script(restarted bool, scenarios ...string) {
	c.t.Helper()
	s := runScript(c.t, "chat.mjs", map[string]any{
		"url": socketURL(local(c.port)), "moderator": moderatorToken, "restarted": restarted, "patience": phxtest.Patience().Milliseconds(),
	}, phxtest.Scaled(time.Minute))
	for _, scenario := range scenarios {
		s.wantOK(scenario)
	}
	s.wantEnd()
}

// testPage uses the backend's own page, in a browser.
func (c *chatExample) testPage(t *testing.T, chromium string) {
	s := runScript(t, "chatpage.mjs", map[string]any{
		"chromium": chromium, "member": c.page("Ann", "page"), "moderator": c.page("Mo", "page") + "&moderator=" + moderatorToken,
		"patience": (2 * phxtest.Patience()).Milliseconds(),
	}, phxtest.Scaled(time.Minute))
	s.wantOK("page")
	s.wantEnd()
}

func (c *chatExample) page(name, room string) string {
	return "http://" + local(c.port+2) + "/?gateway=" + local(c.port) + "&room=" + room + "&name=" + name
}

// gateway dev --authz=false leaves connects and joins to whoever answers them.
func TestDevWithoutAuthz(t *testing.T) {
	url := phxtest.StartNATS(t)
	port := freePorts(t, 2)
	startProcess(t, []string{"dev", "--authz=false", "--data", t.TempDir()}, "NATS_URL="+url, "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+1))
	waitForOK(t, pageURL(port))
	for _, subject := range []string{"phx.authz.connect", "phx.authz.join"} {
		if answer, err := dialNATS(t, url).Request(subject, []byte(`{}`), phxtest.Patience()); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, %v; want nobody there", subject, answer, err)
		}
	}
}
