// Package admin is the operators' side of a program: /healthz, /readyz, /metrics and /debug/pprof/ on a port of their own, never the clients'.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// Server serves the admin port.
type Server struct {
	ready    func() error
	log      *slog.Logger
	registry *prometheus.Registry
	meters   *sdk.MeterProvider
	more     map[string]http.Handler // by pattern, what the program serves besides
}

// New makes an admin server. ready says why the program is not ready, nil if it is.
func New(ready func() error, log *slog.Logger) (*Server, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	return &Server{ready: ready, log: log, registry: registry, meters: sdk.NewMeterProvider(sdk.WithReader(exporter)), more: map[string]http.Handler{}}, nil
}

// Handle adds a handler for a pattern of [http.ServeMux]. Call it before Serve.
func (s *Server) Handle(pattern string, h http.Handler) { s.more[pattern] = h }

// Meter is where the program registers its metrics.
func (s *Server) Meter() metric.Meter { return s.meters.Meter("github.com/phxgate/phxgate") }

// Handler serves the admin paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for pattern, h := range s.more {
		mux.Handle(pattern, h)
	}
	return mux
}

// lastAnswers is how long a request that is under way at the end may take.
const lastAnswers = 100 * time.Millisecond

// Serve serves ln until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	web := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	ended := make(chan struct{}) // closed when web has let go of its requests
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		last, cancel := context.WithTimeout(context.Background(), lastAnswers)
		defer cancel()
		if web.Shutdown(last) != nil {
			web.Close()
		}
	})
	err := web.Serve(ln)
	if !stop() {
		<-ended
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port: %w", err)
	}
	return nil
}
