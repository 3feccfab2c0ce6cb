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
	waiting   map[uint64]func(*natsgo.Msg, error)
	deadlines deadlines
	sooner    chan struct{} // the first deadline changed; never closed
	quit      chan struct{} // closed by close
}

func (r *requests) init(prefix string) {
	r.prefix = prefix
	r.waiting = map[uint64]func(*natsgo.Msg, error){}
	r.sooner = make(chan struct{}, 1)
	r.quit = make(chan struct{})
}

// request publishes a request; done gets the answer or ErrNoBackend, ErrTimeout, ErrUnavailable, unless an error is returned.
func (b *Bus) request(subject string, h natsgo.Header, data []byte, timeout time.Duration, done func(*natsgo.Msg, error)) error {
	id, ok := b.requests.add(time.Now().Add(timeout), done)
	if !ok {
		return gateway.ErrUnavailable
	}
	if err := b.publish(subject, b.requests.replySubject(id), h, data); err != nil {
		if b.requests.take(id) == nil {
			return nil // the loss of the connection has answered it already
		}
		return err
	}
	return nil
}

// add registers a request.
func (r *requests) add(deadline time.Time, done func(*natsgo.Msg, error)) (id uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxRequests {
		return 0, false
	}
	r.next++
	id = r.next
	r.waiting[id] = done
	heap.Push(&r.deadlines, deadlineOf{deadline, id})
	if r.deadlines[0].id == id {
		select {
		case r.sooner <- struct{}{}:
		default:
		}
	}
	return id, true
}

// take removes a request and returns its function; nil if it is answered already.
func (r *requests) take(id uint64) func(*natsgo.Msg, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.waiting[id]
	delete(r.waiting, id)
	return done
}

// answered hands over a message that came on a reply subject. What answers nothing that waits is late or a second answer, and dropped.
func (r *requests) answered(m *natsgo.Msg) bool {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, r.prefix), 36, 64)
	if err != nil {
		return false
	}
	done := r.take(id)
	if done == nil {
		return false
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		done(nil, gateway.ErrNoBackend)
		return true
	}
	done(m, nil)
	return true
}

// failAll ends all requests.
func (r *requests) failAll(err error) {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting = map[uint64]func(*natsgo.Msg, error){}
	r.deadlines = nil
	r.mu.Unlock()
	for _, done := range waiting {
		done(nil, err)
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
			done, waits := r.waiting[first.id]
			if waits && first.at.After(now) {
				next = first.at.Sub(now)
				break
			}
			heap.Pop(&r.deadlines)
			if waits {
				delete(r.waiting, first.id)
				late = append(late, done)
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
