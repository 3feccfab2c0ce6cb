package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/phxgate/phxgate/internal/balancer"
	"github.com/phxgate/phxgate/internal/settings"
)

// fleet is the gateways of `gateway dev --gateways n`: child processes on ports of their own, so that one can be killed for real.
type fleet struct {
	log *slog.Logger

	mu      sync.Mutex
	members []*fleetMember
}

// fleetMember is one child. Guarded by fleet.mu.
type fleetMember struct {
	ID   string `json:"id"`
	URL  string `json:"url"`
	Up   bool   `json:"up"`
	proc *os.Process
}

// restartAfter is how long a killed child stays away, so that its clients are seen to move.
const restartAfter = 5 * time.Second

// runDevFleet runs n children and a balancer in front of them until ctx ends.
func runDevFleet(ctx context.Context, n int, s *config, log *slog.Logger) error {
	ln, err := settings.Listen("LISTEN", s.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	_, portText, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return err
	}
	pagesLn, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer pagesLn.Close()
	f := &fleet{log: log}
	group, ctx := errgroup.WithContext(ctx)
	web := &http.Server{Handler: devPages(f), ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		if err := web.Serve(pagesLn); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() { web.Close() })
	var backends []string
	for i := 1; i <= n; i++ {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i))
		backends = append(backends, addr)
		m := &fleetMember{ID: fmt.Sprintf("g%d", i), URL: "http://localhost:" + strconv.Itoa(port+i)}
		f.members = append(f.members, m)
		group.Go(func() error { return f.run(ctx, m, addr, pagesLn.Addr().String(), s) })
	}
	group.Go(func() error { return balancer.New(backends, log).Serve(ctx, ln) })
	return group.Wait()
}

// run keeps one child running until ctx ends.
func (f *fleet) run(ctx context.Context, m *fleetMember, addr, pages string, s *config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for {
		cmd := exec.Command(self)
		f.mu.Lock()
		m.ID = strings.SplitN(m.ID, "-", 2)[0] + "-" + strings.ToLower(rand.Text()[:4]) // new for each start: channel ids begin with it
		cmd.Env = append(os.Environ(), "LISTEN="+addr, "ADMIN_LISTEN=127.0.0.1:0", "NATS_URL="+s.NATSURL, "CHANNELS_FILE="+s.ChannelsFile,
			"GATEWAY_ID="+m.ID, devPagesEnv+"="+pages)
		f.mu.Unlock()
		cmd.Stderr = os.Stderr
		if _, err := cmd.StdinPipe(); err != nil { // nothing is written to it: it ends when this process does
			return fmt.Errorf("start gateway %s: %w", m.ID, err)
		}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start gateway %s: %w", m.ID, err)
		}
		f.setUp(m, cmd.Process)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-ended
			return nil
		case err := <-ended:
			f.setUp(m, nil)
			f.log.Warn("gateway ended; it is started again", "gateway", m.ID, "err", err, "in", restartAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartAfter):
		}
	}
}

func (f *fleet) setUp(m *fleetMember, p *os.Process) {
	f.mu.Lock()
	m.Up, m.proc = p != nil, p
	f.mu.Unlock()
}

// list answers GET /dev/fleet.
func (f *fleet) list(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	body, err := json.Marshal(map[string]any{"gateways": f.members})
	f.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body)
}

// kill answers POST /dev/kill?id=…: the child is killed with SIGKILL. A page of another site cannot ask for it.
func (f *fleet) kill(w http.ResponseWriter, r *http.Request) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		http.Error(w, "same origin only", http.StatusForbidden)
		return
	}
	id := r.URL.Query().Get("id")
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		if m.ID == id && m.proc != nil {
			if err := m.proc.Kill(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	http.Error(w, "no gateway "+id+" is up", http.StatusNotFound)
}
