package gateway

import "sync"

// Bounds of what waits to be decided, in bytes of payloads and a part for each broadcast. Beyond them a topic's broadcasts are dropped, which is a gap of that topic.
const (
	filterTopicBytes = 8 << 20
	filterBytes      = 64 << 20
	filterOverhead   = 1 << 10
)

// filterPool decides about broadcasts of filtered topics before the loops get to them. Topics take turns, one broadcast each, so that an expensive one delays itself. Its goroutines end when
// nothing is left.
type filterPool struct {
	most int // goroutines

	mu      sync.Mutex
	turns   []*filterQueue // topics that have some waiting; the first is next
	bytes   int
	workers int
}

// filterQueue is what one topic has waiting. Guarded by the pool's mu.
type filterQueue struct {
	jobs  []filterJob
	bytes int // of jobs, and of those under way
}

type filterJob struct {
	e    *encoded
	done func()
}

// add takes a broadcast of a topic, and has done called when it is decided. It reports false where too much waits.
func (p *filterPool) add(q *filterQueue, e *encoded, done func()) bool {
	size := len(e.b.Payload) + filterOverhead
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.bytes > 0 && (q.bytes+size > filterTopicBytes || p.bytes+size > filterBytes) {
		return false
	}
	q.jobs = append(q.jobs, filterJob{e, done})
	q.bytes += size
	p.bytes += size
	if len(q.jobs) == 1 {
		p.turns = append(p.turns, q)
	}
	if p.workers < p.most {
		p.workers++
		go p.work()
	}
	return true
}

func (p *filterPool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.turns) > 0 {
		q := p.turns[0]
		p.turns[0] = nil
		p.turns = p.turns[1:]
		job := q.jobs[0]
		q.jobs[0] = filterJob{}
		if q.jobs = q.jobs[1:]; len(q.jobs) > 0 {
			p.turns = append(p.turns, q)
		}
		p.mu.Unlock()
		job.e.decide()
		job.done()
		p.mu.Lock()
		size := len(job.e.b.Payload) + filterOverhead
		q.bytes -= size
		p.bytes -= size
	}
	p.workers--
}

// decided brings the news that a broadcast of a topic may be fanned out.
type decided struct{ t *topic }

func (d decided) deliver(l *loop) {
	if p := d.t.pending; p != nil && p.parked {
		p.parked = false
		l.heavy = append(l.heavy, p)
	}
}
