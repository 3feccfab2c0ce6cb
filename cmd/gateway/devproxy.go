package main

import (
	"context"
	"io"
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

// untilParentEnds ends the context when the parent goes, however it goes: the child's standard input is a pipe that the parent holds.
func untilParentEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the process
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return ctx
}
