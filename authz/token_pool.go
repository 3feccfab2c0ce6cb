package authz

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// maxQueued is how many tokens may wait to be verified: some tenths of a second's work for two cores. More are told that there are no keys, and come again.
const maxQueued = 4096

// TokenPool verifies tokens on a few goroutines of its own, so that an event loop never waits for a signature's arithmetic (some 0.1 ms for RS256, 0.3 ms
// for ES256), and lets a token with an unknown kid wait until the keys were fetched again.
type TokenPool struct {
	verifier TokenVerifier
	set      *KeySet       // of the verifier's, to be kept fresh; nil: it has none
	queue    chan tokenJob // never closed

	mu    sync.RWMutex // guards ended: a reader may put into the queue, the writer has the last word
	ended bool
}

// TokenVerifier is a [Verifier] or a [PhoenixVerifier].
type TokenVerifier interface {
	// Verify returns what a token says that holds at now. An error wraps ErrBadToken or ErrKeysUnavailable.
	Verify(token string, now time.Time) (Claims, error)
}

var (
	_ TokenVerifier = (*Verifier)(nil)
	_ TokenVerifier = (*PhoenixVerifier)(nil)
)

// tokenJob is one token to be verified.
type tokenJob struct {
	token string
	again bool // it waited for keys already
	done  func(Claims, error)
}

// NewTokenPool makes a pool. Nothing is verified until Run is called.
func NewTokenPool(v TokenVerifier) *TokenPool {
	p := &TokenPool{verifier: v, queue: make(chan tokenJob, maxQueued)}
	if jwt, ok := v.(*Verifier); ok {
		p.set, _ = jwt.Keys.(*KeySet)
	}
	return p
}

// Run verifies tokens, and fetches keys where they are a [KeySet], until ctx ends. When it returns, all that it started has ended and every token is answered.
// It is called once.
func (p *TokenPool) Run(ctx context.Context) {
	var running sync.WaitGroup
	if p.set != nil {
		running.Go(func() { p.set.Run(ctx) })
	}
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() { p.work(ctx) })
	}
	running.Wait()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	for {
		select {
		case job := <-p.queue:
			job.done(Claims{}, errPoolEnded)
		default:
			return
		}
	}
}

var (
	errPoolEnded = fmt.Errorf("%w: the gateway stops", ErrKeysUnavailable)
	errQueueFull = fmt.Errorf("%w: too many wait", ErrKeysUnavailable)
)

// Verify hands a token over and never blocks. done is called exactly once, with what [TokenVerifier.Verify] returns, on any goroutine, perhaps before Verify returns,
// and must not block for long. A token with an unknown kid is answered after a fetch of the keys where one is due, at most some five seconds later.
func (p *TokenPool) Verify(token string, done func(Claims, error)) {
	p.put(tokenJob{token: token, done: done})
}

func (p *TokenPool) put(job tokenJob) {
	if err := p.tryPut(job); err != nil {
		job.done(Claims{}, err)
	}
}

func (p *TokenPool) tryPut(job tokenJob) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ended {
		return errPoolEnded
	}
	select {
	case p.queue <- job:
		return nil
	default:
		return errQueueFull
	}
}

func (p *TokenPool) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-p.queue:
			p.verify(job)
		}
	}
}

// verify answers a token, or lets it wait for keys, once.
func (p *TokenPool) verify(job tokenJob) {
	now := time.Now()
	claims, err := p.verifier.Verify(job.token, now)
	if p.set != nil && errors.Is(err, errUnknownKid) && !job.again {
		job.again = true
		if err = p.set.refresh(now, func() { p.put(job) }); err == nil {
			return
		}
	}
	job.done(claims, err)
}
