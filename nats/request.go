package nats

import (
	"container/heap"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/gateway"
)

// maxRequests bounds the requests under way: a hundred thousand joins may wait for one slow authz service.
const maxRequests = 1 << 20

// requests are the requests that wait for an answer. No goroutine waits for any of them: answers come through the reader, and one goroutine ends those that took
// too long.
type requests struct {
	prefix string // reply subjects are prefix + id

	mu        sync.Mutex
	next      uint64
	waiting   map[uint64]waitingRequest
	over      [maxOver]overRequest // by id modulo maxOver
	deadlines deadlines
	sooner    chan struct{} // the first deadline changed; never closed
	quit      chan struct{} // closed by close
}

// waitingRequest is a request without an answer yet.
type waitingRequest struct {
	subject string
	done    func(*natsgo.Msg, error)
}

// overRequest is a request that was answered, or has timed out. The last of them are remembered, so that who answers late or twice can be told what it was.
type overRequest struct {
	id       uint64
	subject  string
	answered bool
}

const maxOver = 1024

func (r *requests) init(prefix string) {
	r.prefix = prefix
	r.waiting = map[uint64]waitingRequest{}
	r.sooner = make(chan struct{}, 1)
	r.quit = make(chan struct{})
}

// request publishes a request; done gets the answer or ErrNoBackend, ErrTimeout, ErrUnavailable, unless an error is returned.
func (b *Bus) request(subject string, h natsgo.Header, data []byte, timeout time.Duration, done func(*natsgo.Msg, error)) error {
	id, ok := b.requests.add(time.Now().Add(timeout), waitingRequest{subject, done})
	if !ok {
		return gateway.ErrUnavailable
	}
	if err := b.publish(subject, b.requests.replySubject(id), h, data); err != nil {
		if b.requests.take(id, false) == nil {
			return nil // the loss of the connection has answered it already
		}
		return err
	}
	return nil
}

// add registers a request.
func (r *requests) add(deadline time.Time, w waitingRequest) (id uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxRequests {
		return 0, false
	}
	r.next++
	id = r.next
	r.waiting[id] = w
	heap.Push(&r.deadlines, deadlineOf{deadline, id})
	if r.deadlines[0].id == id {
		select {
		case r.sooner <- struct{}{}:
		default:
		}
	}
	return id, true
}

// take removes a request and returns its function; nil if it is over already.
func (r *requests) take(id uint64, answered bool) func(*natsgo.Msg, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.waiting[id]
	if !ok {
		return nil
	}
	delete(r.waiting, id)
	r.remember(id, w, answered)
	return w.done
}

func (r *requests) remember(id uint64, w waitingRequest, answered bool) {
	r.over[id%maxOver] = overRequest{id, w.subject, answered}
}

// answered hands over a message that came on a reply subject. What answers nothing that waits is dropped: then it says why, and which request it was about.
func (r *requests) answered(m *natsgo.Msg) (about string, why dropReason) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, r.prefix), 36, 64)
	if err != nil {
		return m.Subject, dropNobodysAnswer
	}
	done := r.take(id, true)
	if done == nil {
		return r.after(id, m.Subject)
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		done(nil, gateway.ErrNoBackend)
	} else {
		done(m, nil)
	}
	return "", dropNone
}

// after says what an answer to a request that is over is.
func (r *requests) after(id uint64, reply string) (about string, why dropReason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o := r.over[id%maxOver]; {
	case o.id != id || o.subject == "":
		return reply, dropNobodysAnswer
	case o.answered:
		return o.subject, dropSecondAnswer
	default:
		return o.subject, dropLateAnswer
	}
}

// failAll ends all requests.
func (r *requests) failAll(err error) {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting = map[uint64]waitingRequest{}
	r.deadlines = nil
	for id, w := range waiting {
		r.remember(id, w, false)
	}
	r.mu.Unlock()
	for _, w := range waiting {
		w.done(nil, err)
	}
}

// expire is the goroutine that ends requests that took too long.
func (r *requests) expire() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.mu.Lock()
		now := time.Now()
		var late []func(*natsgo.Msg, error)
		next := time.Hour
		for len(r.deadlines) > 0 {
			first := r.deadlines[0]
			w, waits := r.waiting[first.id]
			if waits && first.at.After(now) {
				next = first.at.Sub(now)
				break
			}
			heap.Pop(&r.deadlines)
			if waits {
				delete(r.waiting, first.id)
				r.remember(first.id, w, false)
				late = append(late, w.done)
			}
		}
		if len(r.deadlines) < cap(r.deadlines)/4 {
			r.deadlines = append(deadlines(nil), r.deadlines...) // after a storm of joins
		}
		r.mu.Unlock()
		for _, done := range late {
			done(nil, gateway.ErrTimeout)
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-r.sooner:
		case <-r.quit:
			return
		}
	}
}

// close ends everything.
func (r *requests) close() {
	close(r.quit)
	r.failAll(gateway.ErrUnavailable)
}

// deadlines is a heap, the soonest first. Requests that were answered stay in it until their time.
type deadlines []deadlineOf

type deadlineOf struct {
	at time.Time
	id uint64
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadlineOf)) }
func (d *deadlines) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}
