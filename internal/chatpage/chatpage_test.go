package chatpage

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

func request(method, path string) *http.Response {
	recorder := httptest.NewRecorder()
	Handler().ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder.Result()
}

func body(t *testing.T, path string) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("GET %s: %d", path, recorder.Code)
	}
	return recorder.Body.String()
}

func TestRoutes(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/?name=Ann", 200, "text/html; charset=utf-8"},
		{"GET", "/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/style.css", 200, "text/css; charset=utf-8"},
		{"GET", "/phoenix.js", 200, "text/javascript; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"POST", "/", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/app.js", 405, "text/plain; charset=utf-8"},
		{"GET", "/index.html", 404, "text/plain; charset=utf-8"},
		{"GET", "/static/app.js", 404, "text/plain; charset=utf-8"},
		{"GET", "/app.js/", 404, "text/plain; charset=utf-8"},
		{"GET", "/README.md", 404, "text/plain; charset=utf-8"},
		{"GET", "/favicon.ico", 404, "text/plain; charset=utf-8"},
		{"GET", "/socket/websocket", 404, "text/plain; charset=utf-8"},
		{"POST", "/nothing", 404, "text/plain; charset=utf-8"},
	} {
		response := request(tt.method, tt.path)
		if response.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.path, response.StatusCode, tt.status)
		}
		if got := response.Header.Get("Content-Type"); got != tt.contentType {
			t.Errorf("%s %s: content type %q, want %q", tt.method, tt.path, got, tt.contentType)
		}
		if got, want := response.Header.Get("Allow"), "GET, HEAD"; tt.status == 405 && got != want {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, want)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	server := httptest.NewServer(Handler())
	defer server.Close()
	response, err := http.Head(server.URL + "/app.js")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got, want := response.ContentLength, int64(len(body(t, "/app.js"))); got != want {
		t.Errorf("Content-Length %d, want %d", got, want)
	}
}

func TestHeaders(t *testing.T) {
	for path := range files {
		header := request("GET", path).Header
		if got := header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q, want no-store", path, got)
		}
		if got := header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q, want nosniff", path, got)
		}
		directives := make(map[string]string)
		for directive := range strings.SplitSeq(header.Get("Content-Security-Policy"), "; ") {
			name, sources, _ := strings.Cut(directive, " ")
			directives[name] = sources
		}
		for name, want := range map[string]string{
			"default-src":     "'none'",
			"script-src":      "'self'",
			"style-src":       "'self'",
			"connect-src":     "'self' ws: wss:",
			"base-uri":        "'none'",
			"form-action":     "'none'",
			"frame-ancestors": "'none'",
		} {
			if got := directives[name]; got != want {
				t.Errorf("%s: policy %s %q, want %q", path, name, got, want)
			}
		}
	}
}

// What the policy would block must not be in the page, and nothing that makes
// markup of text in its script.
func TestPageObeysItsPolicy(t *testing.T) {
	for path, forbidden := range map[string]string{
		"/":          `<script>|<style|\sstyle=|\son\w+=|javascript:|(src|href)="(https?:)?//`,
		"/app.js":    `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://|setAttribute\("(style|on)`,
		"/style.css": `@import|url\(|https?://`,
	} {
		if found := regexp.MustCompile(forbidden).FindString(body(t, path)); found != "" {
			t.Errorf("%s contains %q", path, found)
		}
	}
}

// Every id that the script asks for must be in the page.
func TestScriptFindsItsParts(t *testing.T) {
	page := body(t, "/")
	ids := regexp.MustCompile(`(?:\$|stamp)\("([\w-]+)"\)`).FindAllStringSubmatch(body(t, "/app.js"), -1)
	if len(ids) < 20 {
		t.Fatalf("found %d ids in app.js, the pattern no longer fits", len(ids))
	}
	for _, id := range ids {
		if !strings.Contains(page, `id="`+id[1]+`"`) {
			t.Errorf("app.js asks for #%s, which the page does not have", id[1])
		}
	}
}

func TestClientIsUnmodified(t *testing.T) {
	// SHA-256 of priv/static/phoenix.min.js in phoenix-1.8.16.tgz.
	const want = "3ddf7a67e2f1f3ae9bc26d0a799c9b48912fd4d2cb6b4c23f6250d1a3d20d1f1"
	sum := sha256.Sum256([]byte(body(t, "/phoenix.js")))
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("phoenix.js has SHA-256 %s, want %s of %s", got, want, ClientVersion)
	}
}

func TestClientVersionIsNamed(t *testing.T) {
	if want := "phoenix.js " + ClientVersion; !strings.Contains(body(t, "/"), want) {
		t.Errorf("the page does not say %q", want)
	}
	for file, want := range map[string]string{
		"static/README.md":       "version " + ClientVersion,
		"static/phoenix.LICENSE": "MIT License",
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}
