package authz

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Keys are exchanged by an unknown kid, at once, and the token that brought it waits; a second unknown kid in the same half minute is bad.
func TestKeySetRotation(t *testing.T) {
	is := issuers()
	server := newKeyServer(t, is.p256.jwk("old"))
	log := &logged{}
	p := startPool(t, NewKeySet(server.URL, slog.New(slog.NewTextHandler(log, nil))))
	waitForKeys(t, p, is.p256.sign(t, header("ES256", "old"), lasting))
	server.serve(jwks(is.ed25519.jwk("new")))
	before := server.fetches.Load()
	if _, err := verify(t, p, is.ed25519.sign(t, header("EdDSA", "new"), lasting)); err != nil {
		t.Errorf("new key: %v", err)
	}
	if _, err := verify(t, p, is.p256.sign(t, header("ES256", "old"), lasting)); !errors.Is(err, errUnknownKid) {
		t.Errorf("old key: %v, want it out of use", err)
	}
	for range 20 {
		if _, err := verify(t, p, is.p256.sign(t, header("ES256", "newer"), lasting)); !errors.Is(err, errUnknownKid) {
			t.Errorf("unknown kid: %v", err)
		}
	}
	if n := server.fetches.Load() - before; n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	if text := log.String(); strings.Contains(text, server.URL) || strings.Count(text, "JWT keys fetched") != 2 {
		t.Errorf("log:\n%s", text)
	}
}

// A server that is away at first is asked again; until it answers, tokens are neither good nor bad.
func TestKeySetDownAtFirst(t *testing.T) {
	is := issuers()
	server := newKeyServer(t)
	server.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	p := startPool(t, NewKeySet(server.URL, slog.New(slog.DiscardHandler)))
	token := is.p256.sign(t, header("ES256", "k"), lasting)
	if _, err := verify(t, p, token); !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("no keys: %v", err)
	}
	server.serve(jwks(is.p256.jwk("k")))
	waitForKeys(t, p, token)
}

// Whatever the server does, the keys that are there stay, and a token with an unknown kid is answered.
func TestKeySetKeepsGoodKeys(t *testing.T) {
	is := issuers()
	held := make(chan struct{})
	defer close(held)
	for name, answer := range map[string]http.HandlerFunc{
		"error":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"not found": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"created": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			_, _ = w.Write([]byte(jwks(is.rsa.jwk("k"))))
		},
		"web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in</html>")) },
		"empty":    func(http.ResponseWriter, *http.Request) {},
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"secrets": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(jwks(`{"kty":"oct","kid":"k","k":"c2VjcmV0"}`)))
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"keys":`))
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"a":"` + strings.Repeat("a", 2*maxKeySetBody) + `",` + jwks(is.rsa.jwk("k"))[1:]))
		},
		"for ever":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"never":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"head alone": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			server := newKeyServer(t, is.p256.jwk("k"))
			set := NewKeySet(server.URL, slog.New(slog.DiscardHandler))
			set.client.Timeout = 200 * time.Millisecond
			p := startPool(t, set)
			good := is.p256.sign(t, header("ES256", "k"), lasting)
			waitForKeys(t, p, good)
			server.handle(answer)
			before := server.fetches.Load()
			if _, err := verify(t, p, is.p256.sign(t, header("ES256", "other"), lasting)); !errors.Is(err, errUnknownKid) {
				t.Errorf("unknown kid: %v", err)
			}
			if server.fetches.Load() == before {
				t.Error("the server was not asked")
			}
			if _, err := verify(t, p, good); err != nil {
				t.Errorf("known kid: %v", err)
			}
		})
	}
}

// A slow fetch holds up nobody whose key is there, and the pool ends within it.
func TestKeySetSlow(t *testing.T) {
	is := issuers()
	server := newKeyServer(t, is.p256.jwk("k"))
	p := NewTokenPool(&Verifier{Keys: NewKeySet(server.URL, slog.New(slog.DiscardHandler))})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	good := is.p256.sign(t, header("ES256", "k"), lasting)
	waitForKeys(t, p, good)
	asked := make(chan struct{}, 1)
	server.handle(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() })
	answers := make(chan error, 3*maxWaiting)
	put := func() {
		p.Verify(is.p256.sign(t, header("ES256", "other"), lasting), func(_ Claims, err error) { answers <- err })
	}
	put()
	<-asked
	for range maxWaiting + 9 {
		put()
	}
	if _, err := verify(t, p, good); err != nil {
		t.Errorf("known kid: %v", err)
	}
	for range 10 {
		if err := <-answers; !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("more than may wait: %v", err)
		}
	}
	cancel()
	<-ended
	if len(answers) != maxWaiting {
		t.Errorf("%d answers when the pool ended, want %d", len(answers), maxWaiting)
	}
	put()
	for range maxWaiting + 1 {
		if err := <-answers; !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("at the end: %v", err)
		}
	}
	if n := server.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestKeySetFollowsNoDowngrade(t *testing.T) {
	is := issuers()
	plain := newKeyServer(t, is.p256.jwk("k"))
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	set := NewKeySet(secure.URL, slog.New(slog.DiscardHandler))
	set.client.Transport = secure.Client().Transport
	err := set.fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "from https to http") || strings.Contains(err.Error(), secure.URL) || plain.fetches.Load() != 0 {
		t.Errorf("got %v, %d fetches", err, plain.fetches.Load())
	}
	// Another place of the same kind is followed.
	moved := newKeyServer(t)
	moved.handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) })
	set = NewKeySet(moved.URL, slog.New(slog.DiscardHandler))
	if err := set.fetch(t.Context()); err != nil || set.count() != 1 {
		t.Errorf("redirected: %v, %d keys", err, set.count())
	}
}

// What went wrong is said without the URL, which may hold a password.
func TestKeySetErrorsHoldNoURL(t *testing.T) {
	for _, u := range []string{"http://user:hunter2@127.0.0.1:1/hunter2?hunter2", "http://hunter2\x7f/", "http://127.0.0.1:1:hunter2/"} {
		if err := NewKeySet(u, slog.New(slog.DiscardHandler)).fetch(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}
