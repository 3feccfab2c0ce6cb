package authz

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

// keyServer is a web server with a JWK Set, and whatever else it is told to answer.
type keyServer struct {
	*httptest.Server
	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int64
}

func newKeyServer(t *testing.T, keys ...string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.serve(jwks(keys...))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) handle(f http.HandlerFunc) { s.answer.Store(&f) }

func (s *keyServer) serve(body string) {
	s.handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
}

// logged is a log that a test reads.
type logged struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// startPool runs a pool until the test ends and wants it to end then.
func startPool(t *testing.T, keys Keys) *TokenPool {
	t.Helper()
	p := NewTokenPool(&Verifier{Keys: keys})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return p
}

// verify verifies one token and waits.
func verify(t *testing.T, p *TokenPool, token string) (Claims, error) {
	t.Helper()
	type result struct {
		claims Claims
		err    error
	}
	results := make(chan result, 2)
	p.Verify(token, func(c Claims, err error) { results <- result{c, err} })
	select {
	case r := <-results:
		return r.claims, r.err
	case <-time.After(patience):
		t.Fatal("no answer")
		return Claims{}, nil
	}
}

// waitForKeys polls until a token is good.
func waitForKeys(t *testing.T, p *TokenPool, token string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := verify(t, p, token)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrKeysUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// lasting are claims that hold while the test runs.
const lasting = `{"sub":"42","exp":4000000000}`
