// Package chatpage is the demo chat that `gateway dev` serves: one page, written
// against the Phoenix JavaScript client as npm ships it, so that what it shows is
// what an unmodified client does. All files are embedded; the page asks no other
// host for anything.
//
// The page expects, on the host it came from: the socket at /socket; channels
// room:* with the events new_msg (a broadcast to all, with a reply) and typing (a
// broadcast to the others), whose payloads carry the speaker's name; and a join
// reply with the id of the gateway, {"gateway": "g1", "name": "Ann"}. If GET
// /dev/fleet answers {"gateways": [{"id", "url", "up"}]}, it shows the fleet and
// offers to POST /dev/kill?id=g1.
package chatpage

import (
	"embed"
	"net/http"
	"strconv"
)

// ClientVersion is the version of the npm package phoenix from which
// static/phoenix.js was taken.
const ClientVersion = "1.8.16"

// policy keeps the page to its own files: no inline script or style, no other
// host. The socket may go anywhere, since fleets are tried out behind all kinds of
// addresses. Trusted types make the browser refuse text that would become markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'"

//go:embed static/index.html static/app.js static/style.css static/phoenix.js
var static embed.FS

// files maps the path of a request to the file and its content type. Immutable.
var files = map[string]struct{ name, contentType string }{
	"/":           {"static/index.html", "text/html; charset=utf-8"},
	"/app.js":     {"static/app.js", "text/javascript; charset=utf-8"},
	"/style.css":  {"static/style.css", "text/css; charset=utf-8"},
	"/phoenix.js": {"static/phoenix.js", "text/javascript; charset=utf-8"},
}

// Handler serves the page at "/" and its files at "/app.js", "/style.css" and
// "/phoenix.js", to GET and HEAD (405 for other methods). Any other path is 404.
// Nothing may be stored, so that a newer program never meets an older page.
func Handler() http.Handler { return http.HandlerFunc(serveFile) }

func serveFile(w http.ResponseWriter, r *http.Request) {
	file, ok := files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	content, err := static.ReadFile(file.name)
	if err != nil {
		// Only a path in files that the embed directive does not name.
		http.Error(w, "not embedded", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", file.contentType)
	header.Set("Content-Length", strconv.Itoa(len(content)))
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	w.Write(content)
}
