package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/phxgate/phxgate/gateway/phx"
)

// turns is how many requests are worked on at once, so that bodies take a bounded part of the gateway's memory: 16 times maxBody, and for what is made of them as much again or, of base64, three times as much.
const turns = 16

// Times of a request, beside readTimeout.
const (
	turnTimeout   = 5 * time.Second // until its turn comes
	busTimeout    = 5 * time.Second // for NATS and the presence service
	answerTimeout = 5 * time.Second
	restTimeout   = time.Second // for what is left of a refused request's body; within answerTimeout
)

// Handler serves /api/.
type Handler struct {
	tokens   *Tokens
	bus      Bus
	turns    chan struct{} // as many as requests are worked on; never closed
	routes   map[string]route
	requests metric.Int64Counter
}

// route is what a path does.
type route struct {
	name   string // a metric's label
	method string
	serve  func(http.ResponseWriter, *http.Request) (body []byte, err error)
}

// New makes a handler for whoever has one of the tokens. Its requests are counted at meter.
func New(tokens *Tokens, bus Bus, meter metric.Meter) (*Handler, error) {
	h := &Handler{tokens: tokens, bus: bus, turns: make(chan struct{}, turns)}
	h.routes = map[string]route{
		"/api/broadcast":  {"broadcast", http.MethodPost, h.broadcast},
		"/api/disconnect": {"disconnect", http.MethodPost, h.disconnect},
		"/api/presence":   {"presence", http.MethodGet, h.presence},
	}
	var err error
	h.requests, err = meter.Int64Counter("phxgate.api.requests", metric.WithDescription("Requests to the HTTP API, by route and status."))
	if err != nil {
		return nil, fmt.Errorf("metric phxgate.api.requests: %w", err)
	}
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route, known := h.routes[r.URL.Path]
	if !known {
		route.name = "unknown"
	}
	status := http.StatusOK
	body, err := h.serve(w, r, route)
	if err != nil {
		refused := refusalOf(err)
		status, body = refused.status, append(phx.AppendQuote([]byte(`{"error":`), refused.text), '}')
	}
	head := w.Header()
	switch status {
	case http.StatusUnauthorized:
		head.Set("WWW-Authenticate", `Bearer realm="phxgate"`) // RFC 6750 §3 wants a parameter
	case http.StatusMethodNotAllowed:
		head.Set("Allow", route.method)
	case http.StatusServiceUnavailable:
		head.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	head.Set("Content-Type", "application/json")
	head.Set("Content-Length", strconv.Itoa(len(body)))
	head.Set("Cache-Control", "no-store")
	h.requests.Add(context.Background(), 1, metric.WithAttributes(attribute.String("route", route.name), attribute.Int("status", status)))
	answer(w, status, body)
}

// answer writes an answer, and waits neither for a client that does not read nor for the rest of a refused request's body, which net/http reads first.
// It takes both deadlines back before the next request. Errors mean that the client is gone, or that w is a test's and has no deadlines.
func answer(w http.ResponseWriter, status int, body []byte) {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(restTimeout))
	_ = conn.SetWriteDeadline(time.Now().Add(answerTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// serve does what a request asks for. It is refused before its body is read where it can be.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, route route) ([]byte, error) {
	switch token, ok := bearer(r); {
	case !ok || !h.tokens.Match(token):
		return nil, refuse(http.StatusUnauthorized, "want Authorization: Bearer with a token of this gateway")
	case route.serve == nil:
		return nil, refuse(http.StatusNotFound, "there are %s", strings.Join(slices.Sorted(maps.Keys(h.routes)), ", "))
	case r.Method != route.method:
		return nil, refuse(http.StatusMethodNotAllowed, "want %s", route.method)
	}
	if err := h.takeTurn(r.Context()); err != nil {
		return nil, err
	}
	defer func() { <-h.turns }()
	return route.serve(w, r)
}

// forBus bounds what a request may ask of the bus, once it was read.
func forBus(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), busTimeout)
}

func (h *Handler) takeTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	select {
	case h.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return refuse(http.StatusServiceUnavailable, "%d requests are under way, and none ended in %v: nothing was published", turns, turnTimeout)
	}
}

// bearer returns the token of a request (RFC 6750 §2.1).
func bearer(r *http.Request) (token string, ok bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return strings.TrimLeft(token, " "), ok && strings.EqualFold(scheme, "Bearer")
}
