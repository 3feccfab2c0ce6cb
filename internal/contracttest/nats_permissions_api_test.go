package contracttest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestNATSPermissionsOfTheAPI: with the documented permissions, and those besides, the HTTP API does all it can; without them it says so, and nothing is called done.
func TestNATSPermissionsOfTheAPI(t *testing.T) {
	const token = "a-token-of-the-tests"
	bodies := map[string]string{"/api/broadcast": `{"topic":"room:1","event":"e","payload":{}}`, "/api/disconnect": `{"socket_id":"user:1"}`, "/api/presence?topic=room:1": ""}
	ask := func(g *gateway, path, body string) (status int, text string) {
		t.Helper()
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		request, err := http.NewRequest(method, "http://"+g.admin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		response, err := (&http.Client{Timeout: phxtest.Patience(), Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(answer)
	}

	server := startDocumented(t, `# With API_TOKEN, besides: `, ``)
	authz := connectBackend(t, server.as("authz"))
	authz.answer("phx.authz.connect", `{"allow":true,"id":"user:1"}`)
	authz.answer("phx.authz.join", `{"status":"ok"}`)
	startPresence(t, server.as("presence"))
	g := startGateway(t, server.as("gateway"), permissionRules, "CONNECT_AUTH=authz", "API_TOKEN="+token)
	c := g.dial(t)
	c.Join("room:1", struct{}{})
	if status, text := ask(g, "/api/broadcast", bodies["/api/broadcast"]); status != http.StatusOK {
		t.Errorf("broadcast: %d %s", status, text)
	}
	c.WantEvent("room:1", "e", `{}`)
	if status, text := ask(g, "/api/presence?topic=room:1", ""); status != http.StatusOK || text != "{}" {
		t.Errorf("presence: %d %s", status, text)
	}
	if status, text := ask(g, "/api/disconnect", bodies["/api/disconnect"]); status != http.StatusOK {
		t.Errorf("disconnect: %d %s", status, text)
	}
	c.WantClosed(1001)
	if log := g.stderr.String(); strings.Contains(strings.ToLower(log), "permission") {
		t.Errorf("the gateway's log holds a missing permission:\n%s", log)
	}
	// Nobody else may answer for the presence service, or read what it answers.
	other := connectBackend(t, server.as("backend"), nats.CustomInboxPrefix("_INBOX.backend"))
	other.nc.SetErrorHandler(nil)
	for _, subject := range []string{"phx.presence.list.>", "_INBOX.phxgate.>"} {
		if err := denied(t, other.nc, func() error { _, err := other.nc.SubscribeSync(subject); return err }); err == nil {
			t.Errorf("a backend may subscribe to %s", subject)
		}
	}

	bare := startDocumented(t)
	g = startGateway(t, bare.as("gateway"), permissionRules, "API_TOKEN="+token)
	for path, subject := range map[string]string{"/api/disconnect": "phx.socket.user=3A1", "/api/presence?topic=room:1": "phx.presence.list.room.1"} {
		if status, text := ask(g, path, bodies[path]); status != http.StatusBadGateway || !strings.Contains(text, subject) {
			t.Errorf("%s without its permission: %d %s", path, status, text)
		}
	}
}
