package e2e

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestChatPage opens the page of `gateway dev --gateways 3` in a browser: on two gateways' own addresses, and on the balancer's, where the page kills its
// gateway and finds another.
func TestChatPage(t *testing.T) {
	chromium := needChromium(t)
	const gateways = 3
	port := startDev(t, gateways, "--gateways", "3")
	s := runBrowser(t, chromium, "fleet", port, map[string]any{"gateways": []string{pageURL(port + 1), pageURL(port + 2)}})
	s.want("talked", nil)
	var moved struct{ From, To string }
	s.want("moved", &moved)
	if moved.From == "" || moved.To == "" || moved.From == moved.To {
		t.Errorf("moved from gateway %q to %q", moved.From, moved.To)
	}
	s.wantOK("fleet")
	s.wantEnd()
}

// TestChatPageOfOneGateway does the same, but for the kill, with plain `gateway dev`.
func TestChatPageOfOneGateway(t *testing.T) {
	chromium := needChromium(t)
	s := runBrowser(t, chromium, "single", startDev(t, 1), nil)
	s.wantOK("single")
	s.wantEnd()
}

// needChromium skips the test unless the scripts can run and there is a Chromium: what the environment variable CHROMIUM names, or Debian's, or any on PATH.
func needChromium(t *testing.T) string {
	t.Helper()
	needNode(t)
	candidates := []string{"/usr/bin/chromium", "chromium"}
	if named := os.Getenv("CHROMIUM"); named != "" {
		candidates = []string{named}
	}
	for _, candidate := range candidates {
		if program, err := exec.LookPath(candidate); err == nil {
			return program
		}
	}
	unavailable(t, "no browser: none of %q is a program", candidates)
	return ""
}

// startDev runs gateway dev until the test ends and returns its port, which the ports of a fleet follow.
func startDev(t *testing.T, gateways int, args ...string) int {
	t.Helper()
	port := freePorts(t, gateways+2)
	args = append([]string{"dev", "--data", t.TempDir()}, args...)
	startProcess(t, args, "NATS_URL="+phxtest.StartNATS(t), "LISTEN="+local(port), "ADMIN_LISTEN="+local(port+gateways+1))
	waitForOK(t, pageURL(port))
	if gateways > 1 {
		for i := range gateways {
			waitForOK(t, pageURL(port+1+i))
		}
	}
	return port
}

// runBrowser starts a scenario of js/browser.mjs. Its screenshots go to the directory that E2E_SHOTS names, or go with the test.
func runBrowser(t *testing.T, chromium, scenario string, port int, more map[string]any) *script {
	t.Helper()
	shots := os.Getenv("E2E_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	target := map[string]any{
		"scenario": scenario, "chromium": chromium, "base": pageURL(port), "shots": shots,
		"patience": (2 * phxtest.Patience()).Milliseconds(), // a page is slower than a socket
	}
	for name, value := range more {
		target[name] = value
	}
	return runScript(t, "browser.mjs", target, phxtest.Scaled(90*time.Second))
}

// pageURL is where the chat page is.
func pageURL(port int) string { return "http://" + local(port) + "/" }
