package nats

import (
	"errors"
	"time"

	"github.com/phxgate/phxgate/authz"
	"github.com/phxgate/phxgate/gateway"
)

// Joins that come together, as those of a client that is back, are asked about in one request where the authz service is known to answer such requests, and in a request each everywhere
// else. It is known from an empty batch that was answered: joins never wait to find that out, and whoever listens to these subjects without answering holds up none.
const (
	// maxBatch is how many joins are in one request: answers to so many fit into one message of 1 MiB even where each holds 16 KiB of assigns.
	maxBatch = 50
	// maxBatchBytes is how large it may be, in bytes, unless NATS takes less.
	maxBatchBytes = 256 << 10
	// batchRetry is the pause after which it is tried again whether batches are answered, batchRetryLate the same after one was taken and not answered in time: many small requests may be
	// what that service can do.
	batchRetry     = 10 * time.Second
	batchRetryLate = 5 * time.Minute
)

// AuthorizeJoins implements [gateway.Authorizer].
func (a *Authorizer) AuthorizeJoins(asks []gateway.JoinAsk) {
	a.tryBatches()
	if len(asks) == 1 {
		a.askJoin(newJoinQuestion(asks[0]))
		return
	}
	questions := make([]joinQuestion, len(asks))
	for i, ask := range asks {
		questions[i] = newJoinQuestion(ask)
	}
	for len(questions) > 0 {
		n := 1
		if a.batches.Load() {
			n = a.fitting(questions)
		}
		if n == 1 {
			a.askJoin(questions[0])
		} else {
			a.askBatch(questions[:n])
		}
		questions = questions[n:]
	}
}

// fitting is how many of the questions go into one request, at least one.
func (a *Authorizer) fitting(questions []joinQuestion) int {
	most := min(maxBatchBytes, int(a.bus.maxPayload.Load())-maxTraceBytes)
	size := len(authz.AppendJoins(nil, nil))
	for i, q := range questions {
		size += len(q.body) + 1
		if i > 0 && (i >= maxBatch || size > most) {
			return i
		}
	}
	return len(questions)
}

// tryBatches asks with an empty batch whether batches are answered, where that is not known and was not tried lately.
func (a *Authorizer) tryBatches() {
	if a.batches.Load() {
		return
	}
	now := time.Now().UnixNano()
	next := a.nextTry.Load()
	if now < next || !a.nextTry.CompareAndSwap(next, now+int64(batchRetry)) {
		return
	}
	a.ask(a.bus.subjects.AuthzJoins(), gateway.Trace{}, authz.AppendJoins(nil, nil), func(body []byte, err error) {
		if err == nil {
			_, err = authz.ParseJoinsReply(body, 0)
		}
		a.batches.Store(err == nil)
	})
}

// noBatches: nobody answers them any more.
func (a *Authorizer) noBatches(retry time.Duration) {
	a.nextTry.Store(time.Now().Add(retry).UnixNano())
	a.batches.Store(false)
}

// askBatch asks several questions in one request. What nobody takes as a batch is asked in a request each; what somebody took and did not answer fails closed, as a single request would.
func (a *Authorizer) askBatch(questions []joinQuestion) {
	bodies := make([][]byte, len(questions))
	for i, q := range questions {
		bodies[i] = q.body
	}
	a.ask(a.bus.subjects.AuthzJoins(), questions[0].Trace, authz.AppendJoins(nil, bodies), func(body []byte, err error) {
		replies := make([][]byte, len(questions)) // nil: to be asked alone
		switch {
		case err == nil:
			if got, err := authz.ParseJoinsReply(body, len(questions)); err != nil {
				_ = a.nonsense(a.bus.subjects.AuthzJoins(), err) // each is asked alone then
				a.noBatches(batchRetry)
			} else {
				replies = got
			}
		case errors.Is(err, gateway.ErrNoBackend):
			a.noBatches(batchRetry)
			err = nil
		case errors.Is(err, gateway.ErrTimeout):
			a.noBatches(batchRetryLate)
		}
		for i, q := range questions {
			switch {
			case err != nil:
				q.Done(nil, err)
			case replies[i] == nil:
				a.askJoin(q)
			default:
				a.answered(q, a.bus.subjects.AuthzJoins(), replies[i])
			}
		}
	})
}
