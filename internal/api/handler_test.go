package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
)

// fakeBus answers with what it is given.
type fakeBus struct {
	wait chan struct{} // where set, each call waits until it is closed, or for its context
	err  error
}

func (b *fakeBus) call(ctx context.Context) error {
	if b.wait != nil {
		select {
		case <-b.wait:
		case <-ctx.Done():
			return ErrNoAnswer
		}
	}
	return b.err
}

func (b *fakeBus) Broadcast(ctx context.Context, _ []Message, _ Trace) error { return b.call(ctx) }
func (b *fakeBus) Disconnect(ctx context.Context, _ string, _ Trace) error   { return b.call(ctx) }
func (b *fakeBus) Presences(ctx context.Context, _ string, _ []byte, _ Trace) ([]byte, error) {
	return []byte("{}"), b.call(ctx)
}

// ask sends a good request to a handler.
func ask(h http.Handler) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/disconnect", strings.NewReader(`{"socket_id":"a"}`))
	r.Header.Set("Authorization", "Bearer "+one)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newHandler(t *testing.T, bus Bus) *Handler {
	t.Helper()
	tokens, err := NewTokens(one)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(tokens, bus, noop.Meter{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A request beyond those that are worked on waits for its turn, and is refused if none comes; one without the token waits for nothing.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{wait: make(chan struct{})}
		h := newHandler(t, bus)
		answers := make(chan int, 100)
		for range turns {
			go func() { answers <- ask(h).Code }()
		}
		synctest.Wait()
		began := time.Now()
		stranger := httptest.NewRecorder()
		h.ServeHTTP(stranger, httptest.NewRequest(http.MethodPost, "/api/disconnect", nil))
		if stranger.Code != http.StatusUnauthorized || time.Since(began) != 0 {
			t.Errorf("a stranger is answered %d after %v", stranger.Code, time.Since(began))
		}
		go func() { answers <- ask(h).Code }()
		time.Sleep(busTimeout / 2)
		close(bus.wait)
		for range turns + 1 {
			if code := <-answers; code != http.StatusOK {
				t.Errorf("%d", code)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, &fakeBus{})
		for range turns {
			h.turns <- struct{}{}
		}
		began := time.Now()
		late := ask(h)
		if late.Code != http.StatusServiceUnavailable || late.Header().Get("Retry-After") != "1" || !strings.Contains(late.Body.String(), "nothing was published") || time.Since(began) != turnTimeout {
			t.Errorf("%d %s after %v", late.Code, late.Body, time.Since(began))
		}
		<-h.turns
		if again := ask(h); again.Code != http.StatusOK || len(h.turns) != turns-1 {
			t.Errorf("%d with a free turn; %d are taken", again.Code, len(h.turns))
		}
	})
}

// An error that nobody thought of says nothing of itself.
func TestInternalError(t *testing.T) {
	w := ask(newHandler(t, &fakeBus{err: errors.New("secret")}))
	if w.Code != http.StatusInternalServerError || w.Body.String() != `{"error":"internal error"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
