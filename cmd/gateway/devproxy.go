package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// devPagesEnv tells a child of `gateway dev --gateways n` where the chat page and the fleet's panel are served. It is not a setting.
const devPagesEnv = "PHXGATE_DEV_PAGES"

// childPages passes paths that are no sockets on to the parent; nil for an ordinary gateway.
func childPages() http.Handler {
	addr := os.Getenv(devPagesEnv)
	if addr == "" {
		return nil
	}
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
}
