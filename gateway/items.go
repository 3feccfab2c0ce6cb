package gateway

import "iter"

// itemChunk is how many items the larger chunks of a queue hold.
const itemChunk = 32

// items is a queue of what waits at a channel. It grows by chunks, each twice as large as the one before up to itemChunk, so that nothing is copied as it grows and a short
// queue is small. The zero value is an empty queue and holds no memory.
type items struct {
	chunks [][]item // none is empty
	n      int
	joins  int // of kind itemJoin
}

func (q *items) push(it item) {
	last := len(q.chunks) - 1
	if last < 0 || len(q.chunks[last]) == cap(q.chunks[last]) {
		q.chunks = append(q.chunks, make([]item, 0, min(q.n+1, itemChunk)))
		last++
	}
	q.chunks[last] = append(q.chunks[last], it)
	q.n++
	if it.kind == itemJoin {
		q.joins++
	}
}

// pop takes the first item; false if there is none.
func (q *items) pop() (it item, ok bool) {
	if q.n == 0 {
		return item{}, false
	}
	first := q.chunks[0]
	it, first[0] = first[0], item{}
	if q.chunks[0] = first[1:]; len(first) == 1 {
		q.chunks[0] = nil
		q.chunks = q.chunks[1:]
	}
	q.n--
	if it.kind == itemJoin {
		q.joins--
	}
	if q.n == 0 {
		q.chunks = nil
	}
	return it, true
}

// all are the items in order.
func (q *items) all() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for _, c := range q.chunks {
			for i := range c {
				if !yield(&c[i]) {
					return
				}
			}
		}
	}
}

// lastJoin is the join that came last; nil if none waits.
func (q *items) lastJoin() *item {
	if q.joins == 0 {
		return nil
	}
	var last *item
	for it := range q.all() {
		if it.kind == itemJoin {
			last = it
		}
	}
	return last
}
