package backend

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// joins is a batch of join requests that is being answered. The AuthorizeJoin of each runs as if it had come alone.
type joins struct {
	backend *Backend
	msg     *nats.Msg

	mu      sync.Mutex
	answers []json.RawMessage // in the order of the requests; nil: another backend's, which the gateway asks alone
	missing int               // answers that are still to come
}

// receiveJoins makes a job of each join.
func (b *Backend) receiveJoins(msg *nats.Msg) ([]job, error) {
	var batch struct {
		Joins []*JoinRequest `json:"joins"`
	}
	if err := json.Unmarshal(msg.Data, &batch); err != nil {
		return nil, err
	}
	all := &joins{backend: b, msg: msg, answers: make([]json.RawMessage, len(batch.Joins))}
	var jobs []job
	for i, request := range batch.Joins {
		if request == nil {
			return nil, errBadMessage
		}
		t := b.joinTopic(request.Topic)
		if t == nil {
			continue
		}
		jobs = append(jobs, job{
			refuse: func() { all.answer(i, []byte(noDecision)) },
			run: func(ctx context.Context) {
				answer, err := authorizeJoin(ctx, t, request)
				if err != nil {
					b.logError("authorize", err, "subject", msg.Subject, "topic", request.Topic)
					answer = []byte(noDecision)
				}
				all.answer(i, answer)
			},
		})
	}
	if all.missing = len(jobs); len(jobs) == 0 { // an empty batch asks whether batches are answered
		jobs = []job{{run: func(context.Context) { all.publish() }}}
	}
	return jobs, nil
}

// answer takes one of the answers; behind the last all are sent.
func (a *joins) answer(i int, answer []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[i] = answer
	if a.missing--; a.missing == 0 {
		a.publish()
	}
}

// publish sends the answers. Where NATS does not take so much at once the gateway asks about some joins again, each alone.
func (a *joins) publish() {
	for n := len(a.answers); ; n /= 2 {
		for i := n; i < len(a.answers); i++ {
			a.answers[i] = nil
		}
		body, err := json.Marshal(map[string][]json.RawMessage{"joins": a.answers})
		if err == nil {
			err = a.backend.conn.PublishMsg(&nats.Msg{Subject: a.msg.Reply, Data: body})
		}
		if err == nil {
			return
		}
		if !errors.Is(err, nats.ErrMaxPayload) || n == 0 {
			a.backend.logError("authorize", err, "subject", a.msg.Subject)
			return
		}
	}
}
