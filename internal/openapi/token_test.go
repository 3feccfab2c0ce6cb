package openapi

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// A token is exchanged without a restart: the new one beside the old, then alone. No log holds either.
func TestTokenIsExchanged(t *testing.T) {
	t.Parallel()
	doc, file := loadDocument(t), filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	const next = "the-next-token-0123456789"
	write(token + "\n")
	a := start(t, doc, phxtest.StartNATS(t), "API_TOKEN_FILE="+file, "LOG_LEVEL=debug")
	status := func(token string) int {
		return a.do(http.MethodPost, "/api/disconnect", bodies["/api/disconnect"], "Content-Type", "application/json", "Authorization", "Bearer "+token).status
	}
	if old, new := status(token), status(next); old != http.StatusOK || new != http.StatusUnauthorized {
		t.Fatalf("old token %d, new %d", old, new)
	}
	write(token + "\n" + next + "\n")
	waitFor(t, "the new token", func() bool { return status(next) == http.StatusOK })
	if got := status(token); got != http.StatusOK {
		t.Errorf("old token beside the new: %d", got)
	}
	write(next + "\n")
	waitFor(t, "the end of the old token", func() bool { return status(token) == http.StatusUnauthorized })
	write("short\n")
	waitFor(t, "a line about the mistake", func() bool { status(next); return strings.Contains(a.log.String(), "line 1: a token of 5 bytes") })
	if got := status(next); got != http.StatusOK {
		t.Errorf("new token after a mistake in the file: %d", got)
	}
	if log := a.log.String(); strings.Contains(log, token) || strings.Contains(log, next) || strings.Contains(log, "short") {
		t.Errorf("the log holds a token:\n%s", log)
	}
	metrics, err := http.Get("http://" + a.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	got := a.check(metrics.Request, metrics)
	http.DefaultClient.CloseIdleConnections()
	for _, line := range []string{`phxgate_api_requests_total{route="disconnect",status="200"} `, `phxgate_api_requests_total{route="disconnect",status="401"} `} {
		if !strings.Contains(got.body, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
}

// Without a token there is no API.
func TestNoToken(t *testing.T) {
	t.Parallel()
	a := start(t, loadDocument(t), phxtest.StartNATS(t), "API_TOKEN=")
	for _, path := range []string{"/api/", "/api/nowhere"} {
		if got := a.get(path); got.status != http.StatusNotFound || strings.Contains(got.body, "broadcast") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+a.admin+"/api/disconnect", strings.NewReader(bodies["/api/disconnect"]))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer ")
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("POST /api/disconnect without a token set: %d", response.StatusCode)
	}
}
