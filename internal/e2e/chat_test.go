package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const (
	chatRules   = root + "/examples/chat.yaml"
	chatGoDir   = root + "/examples/chat-go"
	chatNodeDir = root + "/examples/chat-node"
	// moderatorToken is what js/chat.mjs connects its moderator with.
	moderatorToken = "secret"
)

// TestChatExamples runs the scenarios of js/chat.mjs with both backends of examples/.
func TestChatExamples(t *testing.T) {
	needNode(t)
	t.Run("go", func(t *testing.T) {
		program := filepath.Join(t.TempDir(), "chat-go")
		build := exec.Command("go", "build", "-o", program, ".")
		build.Dir = chatGoDir
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", chatGoDir, err, out)
		}
		testChat(t, func(url string) {
			startCommand(t, exec.Command(program, "-nats", url, "-db", filepath.Join(t.TempDir(), "chat.db"), "-moderator-token", moderatorToken))
		})
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
		testChat(t, func(url string) {
			cmd := exec.Command("node", "chat.js")
			cmd.Dir = chatNodeDir
			startCommand(t, cmd, "NATS_URL="+url, "MODERATOR_TOKEN="+moderatorToken)
		})
	})
}

// testChat runs a gateway with the examples' rules, a backend, and the script.
func testChat(t *testing.T, startBackend func(natsURL string)) {
	rules, err := filepath.Abs(chatRules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rules); err != nil {
		t.Fatal(err)
	}
	url := phxtest.StartNATS(t)
	port := freePorts(t, 2)
	startProcess(t, nil, "NATS_URL="+url, "CHANNELS_FILE="+rules, "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+1))
	startBackend(url)
	nc := dialNATS(t, url)
	// The gateways' own presences are not needed for the backend's part, which asks for them.
	if _, err := nc.Subscribe("phx.presence.list.>", func(msg *nats.Msg) {
		_ = msg.Respond([]byte(`{"presences":{"Ann":{"metas":[{"phx_ref":"1"}]}},"next":null}`)) // the script misses it
	}); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	waitForOK(t, "http://"+local(port+1)+"/readyz")
	clustertest.WaitFor(t, "the backend", func() bool {
		answer, err := nc.Request("phx.authz.connect", []byte(`{"params":{}}`), phxtest.Patience())
		return err == nil && len(answer.Data) > 0
	})
	s := runScript(t, "chat.mjs", map[string]any{
		"url": socketURL(local(port)), "moderator": moderatorToken, "patience": phxtest.Patience().Milliseconds(),
	}, phxtest.Scaled(time.Minute))
	for _, scenario := range []string{"messages", "typing", "moderation", "mistakes"} {
		s.wantOK(scenario)
	}
	s.wantEnd()
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
