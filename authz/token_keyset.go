package authz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	fetchTimeout  = 5 * time.Second
	maxKeySetBody = 1 << 20 // bytes of a JWK Set
	maxRedirects  = 3

	refreshEvery  = 10 * time.Minute       // while fetching works
	retryFirst    = 250 * time.Millisecond // after a fetch that did not; doubled each time
	retryMost     = 30 * time.Second
	unknownKidGap = 30 * time.Second // between two fetches that unknown kids caused

	// maxWaiting is how many tokens may wait for a fetch; more are told that there are no keys.
	maxWaiting = 1000
)

// KeySet are the keys of a JWK Set on a web server, which may change while the gateway runs. There are none until the first fetch of [KeySet.Run]
// succeeded; from then on a server that is away, slow or answers nonsense leaves the keys as they are. A set that lacks a key takes it out of use.
type KeySet struct {
	url    string
	client *http.Client
	log    *slog.Logger
	keys   atomic.Pointer[[]key] // nil until the first fetch; what it points to never changes
	wake   chan struct{}         // has room for one; never closed. An unknown kid asks for a fetch

	mu       sync.Mutex // guards what follows
	fetching bool       // a fetch is under way or asked for
	ended    bool       // Run ended: nothing will be fetched any more
	asked    time.Time  // when an unknown kid last caused a fetch
	waiting  []func()   // called after the fetch that is under way
}

// NewKeySet makes the set of an http or https URL. The URL is not logged, since it may hold a password. Call Run to fetch.
func NewKeySet(url string, log *slog.Logger) *KeySet {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // the next fetch is minutes away
	transport.MaxResponseHeaderBytes = 64 << 10
	return &KeySet{
		url: url, log: log, wake: make(chan struct{}, 1),
		client: &http.Client{Transport: transport, Timeout: fetchTimeout, CheckRedirect: checkRedirect},
	}
}

// checkRedirect follows a few redirects, and none from https to http: whoever may change the answer on its way chooses the keys.
func checkRedirect(next *http.Request, before []*http.Request) error {
	if len(before) > maxRedirects {
		return errors.New("too many redirects")
	}
	if before[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("redirected from https to http")
	}
	return nil
}

func (s *KeySet) algorithms() []jose.SignatureAlgorithm { return keySetAlgorithms.all }

func (s *KeySet) find(kid string, algorithm jose.SignatureAlgorithm) ([]key, bool, error) {
	keys := s.keys.Load()
	if keys == nil {
		return nil, false, fmt.Errorf("%w: no keys were fetched yet", ErrKeysUnavailable)
	}
	candidates, known := findKey(*keys, kid, algorithm)
	return candidates, known, nil
}

// Run fetches the keys, and again every ten minutes and when an unknown kid asks, one fetch at a time, until ctx ends. It is called once.
func (s *KeySet) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		s.beginFetch()
		err := s.fetch(ctx)
		if err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			failures++
			s.log.Warn("JWT keys not fetched", "err", err, "keys", s.count(), "failures", failures)
		}
		s.fetched(false)
		timer := time.NewTimer(pause(failures))
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.fetched(true)
}

// pause is how long to wait after so many failures in a row: spread by a tenth, so that a fleet does not ask as one.
func pause(failures int) time.Duration {
	d := refreshEvery
	if failures > 0 {
		d = min(retryFirst<<min(failures-1, 20), retryMost)
	}
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// beginFetch says that a fetch is under way, and takes what asked for it.
func (s *KeySet) beginFetch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = true
	select {
	case <-s.wake:
	default:
	}
}

// fetched calls those who waited for a fetch.
func (s *KeySet) fetched(ended bool) {
	s.mu.Lock()
	s.fetching, s.ended = false, ended
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// refresh has the keys fetched again because of an unknown kid. If a fetch is under way or one is due, then is called after it, whatever it brought, on the
// goroutine of Run, and must not block. Else it is not called, and the error says what to answer: errUnknownKid, or ErrKeysUnavailable if too many wait.
func (s *KeySet) refresh(now time.Time, then func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended, len(s.waiting) >= maxWaiting:
		return fmt.Errorf("%w: too many wait for keys", ErrKeysUnavailable)
	case s.fetching:
	case !s.asked.IsZero() && now.Sub(s.asked) < unknownKidGap:
		return errUnknownKid
	default:
		s.asked, s.fetching = now, true
		s.wake <- struct{}{} // there is room: beginFetch took the last one before fetching became false
	}
	s.waiting = append(s.waiting, then)
	return nil
}

// fetch asks the server once. The error holds the host of the URL at most.
func (s *KeySet) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return errors.New("the URL does not parse")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBody+1))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxKeySetBody {
		return fmt.Errorf("the answer has more than %d bytes", maxKeySetBody)
	}
	keys, skipped, err := parseKeySet(body)
	if err != nil {
		return err
	}
	if old := s.keys.Swap(&keys); old == nil || !slices.EqualFunc(*old, keys, sameName) {
		s.log.Info("JWT keys fetched", "keys", len(keys), "passed_over", skipped)
	}
	return nil
}

func sameName(a, b key) bool { return a.kid == b.kid && a.algorithm == b.algorithm }

// withoutURL takes the URL out of an error of the HTTP client.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

func (s *KeySet) count() int {
	if keys := s.keys.Load(); keys != nil {
		return len(*keys)
	}
	return 0
}
