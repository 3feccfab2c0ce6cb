package authz

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keySource is a web server without a network.
type keySource struct {
	mu     sync.Mutex // guards what follows
	broken bool       // it answers 500
	at     []time.Time
}

func (s *keySource) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	response := &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(jwks(issuers().p256.jwk("k")))), Header: http.Header{}}
	if s.broken {
		response.StatusCode = 500
	}
	return response, nil
}

// fetches gives the times of the fetches since the last call, and breaks or mends the server.
func (s *keySource) fetches(broken bool) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at
	s.at, s.broken = nil, broken
	return at
}

// pass lets time pass, which is not the world's here, and everybody do what is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Keys are fetched every ten minutes, give or take a tenth; after a failure sooner, and ever later.
func TestKeySetTimes(t *testing.T) {
	issuers()
	synctest.Test(t, func(t *testing.T) {
		source := &keySource{}
		set := NewKeySet("http://127.0.0.1/", slog.New(slog.DiscardHandler))
		set.client.Transport = source
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); set.Run(ctx) }()

		pass(time.Hour)
		if at := source.fetches(true); len(at) < 6 || len(at) > 7 {
			t.Errorf("%d fetches in an hour, want 6 or 7: %v", len(at), at)
		}
		pass(20 * time.Minute)
		at := source.fetches(false)
		var gaps []time.Duration
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, at[i].Sub(at[i-1]))
		}
		for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
			if want *= time.Millisecond; gaps[i] < want*9/10 || gaps[i] > want*11/10 {
				t.Errorf("pause %d after failures: %v, want about %v", i, gaps[i], want)
			}
		}
		if slices.Max(gaps) > retryMost*11/10 || set.count() != 1 {
			t.Errorf("longest pause %v, %d keys", slices.Max(gaps), set.count())
		}
		pass(2 * retryMost)
		if at := source.fetches(false); len(at) != 1 {
			t.Errorf("%d fetches in a minute after it works again, want 1", len(at))
		}
		cancel()
		<-ended
	})
}

// Unknown kids cause a fetch every thirty seconds at most, however many come.
func TestUnknownKidsAreLimited(t *testing.T) {
	is := issuers()
	token := is.p256.sign(t, header("ES256", "other"), lasting)
	synctest.Test(t, func(t *testing.T) {
		source := &keySource{}
		set := NewKeySet("http://127.0.0.1/", slog.New(slog.DiscardHandler))
		set.client.Transport = source
		ctx, cancel := context.WithCancel(t.Context())
		p := NewTokenPool(&Verifier{Keys: set})
		ended := make(chan struct{})
		go func() { defer close(ended); p.Run(ctx) }()
		synctest.Wait()
		answered := make(chan error, 1)
		for range 300 { // five minutes
			p.Verify(token, func(_ Claims, err error) { answered <- err })
			if err := <-answered; !errors.Is(err, errUnknownKid) {
				t.Fatal(err)
			}
			pass(time.Second)
		}
		if n := len(source.fetches(false)); n != 1+10 {
			t.Errorf("%d fetches, want the first and one each half minute", n)
		}
		cancel()
		<-ended
	})
}

// A full queue answers at once, and what is in it when the pool ends is answered too.
func TestTokenPoolIsBounded(t *testing.T) {
	p := NewTokenPool(&Verifier{Keys: mustSecret(t, secret)})
	var got []error
	done := func(_ Claims, err error) { got = append(got, err) }
	for range maxQueued {
		p.Verify("token", done)
	}
	if len(got) != 0 {
		t.Fatalf("%d answers before the pool runs", len(got))
	}
	p.Verify("token", done)
	if len(got) != 1 || !errors.Is(got[0], errQueueFull) || !errors.Is(got[0], ErrKeysUnavailable) {
		t.Errorf("beyond the queue: %v", got)
	}
	answered := make(chan error, maxQueued+1)
	p = NewTokenPool(p.verifier)
	for range maxQueued {
		p.Verify("token", func(_ Claims, err error) { answered <- err })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx)
	if len(answered) != maxQueued {
		t.Errorf("%d answers when the pool ended, want %d", len(answered), maxQueued)
	}
	p.Verify("token", func(_ Claims, err error) { answered <- err })
	for len(answered) > 0 {
		if err := <-answered; err == nil {
			t.Error("good")
		}
	}
}
