package backend

import "sync"

// turns runs tasks, those of one channel one after the other in the order they came, those of different channels at once, on a bounded number of goroutines. Channels
// take turns, so that a busy one does not hold up others.
type turns struct {
	workers int // limits, fixed
	waiting int

	mu      sync.Mutex
	queues  map[string]*turn // channels that have tasks, one running or waiting
	ready   []*turn          // those of which none runs, in the order of their turns
	running int              // goroutines
	count   int              // tasks that wait
	ended   sync.WaitGroup   // the goroutines
}

// turn is one channel's tasks.
type turn struct {
	channel string // empty: of no channel
	tasks   []func()
}

func newTurns(workers, waiting int) *turns {
	return &turns{workers: workers, waiting: waiting, queues: map[string]*turn{}}
}

// add takes a task; an empty channel is nobody's, and does not wait. ok is false if too many wait already.
func (t *turns) add(channel string, task func()) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= t.waiting {
		return false
	}
	t.count++
	if q := t.queues[channel]; q != nil && channel != "" {
		q.tasks = append(q.tasks, task)
		return true
	}
	q := &turn{channel: channel, tasks: []func(){task}}
	if channel != "" {
		t.queues[channel] = q
	}
	t.ready = append(t.ready, q)
	if t.running < t.workers {
		t.running++
		t.ended.Go(t.work)
	}
	return true
}

// work runs tasks until none is ready.
func (t *turns) work() {
	t.mu.Lock()
	for len(t.ready) > 0 {
		q := t.ready[0]
		t.ready = t.ready[1:]
		task := q.tasks[0]
		q.tasks = q.tasks[1:]
		t.count--
		t.mu.Unlock()
		task()
		t.mu.Lock()
		if len(q.tasks) > 0 {
			t.ready = append(t.ready, q)
		} else if q.channel != "" {
			delete(t.queues, q.channel)
		}
	}
	t.running--
	t.mu.Unlock()
}

// wait returns when every task has ended. Nobody may add meanwhile.
func (t *turns) wait() { t.ended.Wait() }
