package gateway

// outbox is what waits to be written to one socket, in order. Frames are shared and never changed: a broadcast is the same slice in every member's outbox.
// A socket has one only while something waits; its loop keeps the empty ones.
type outbox struct {
	waits   []waitingFrame
	head    int // waits[:head] are written, or taken out
	off     int // bytes of waits[head] that are written
	bytes   int // bytes that wait; the sum over waits[head:] less off
	removed int // of waits[head:], taken out
	claimed int // waits[:claimed] are being written by somebody, and stay

	noneFor int                   // of waits[:noneFor] nothing may be dropped
	latest  map[conflationKey]int // where in waits the last broadcast of a key was put; it may be written or taken out
	held    *int                  // where the bytes of frames that wait are counted, each frame once; nil: nowhere
}

// waitingFrame is one frame, or the frames of several broadcasts as one slice.
type waitingFrame struct {
	data []byte // nil: taken out
	of   *sharedFrame
}

// sharedFrame is what one loop knows of frames that wait for several sockets, or that need not reach a socket that is slow.
type sharedFrame struct {
	size      int
	sockets   int           // of the loop, for which it waits
	droppable *topic        // whose rule lets it be dropped when a socket is slow; nil: it must be written
	key       conflationKey // a later one of the same key takes its place; zero: none does
}

// conflationKey is what broadcasts have in common of which only the last matters.
type conflationKey struct {
	topic        *topic
	event, value string
}

// push appends a frame; of is nil for one that waits here alone and must be written. It reports whether an older one of the same key was taken out.
func (o *outbox) push(frame []byte, of *sharedFrame) (conflated bool) {
	if gone := o.head + o.removed; gone > 32 && gone > len(o.waits)/2 {
		o.compact() // a client that is always a little behind never empties it
	}
	o.waits = append(o.waits, waitingFrame{frame, of})
	o.bytes += len(frame)
	o.hold(frame, of)
	if of == nil || of.key == (conflationKey{}) {
		return false
	}
	if at, ok := o.latest[of.key]; ok && o.whole(at) && o.waits[at].of != nil && o.waits[at].of.key == of.key {
		o.takeOut(at)
		conflated = true
	}
	if o.latest == nil {
		o.latest = map[conflationKey]int{}
	}
	o.latest[of.key] = len(o.waits) - 1
	return conflated
}

// whole reports whether waits[i] waits, and nothing of it is written or being written.
func (o *outbox) whole(i int) bool {
	return i >= o.head && i >= o.claimed && (i > o.head || o.off == 0) && o.waits[i].data != nil
}

func (o *outbox) takeOut(i int) {
	w := &o.waits[i]
	o.bytes -= len(w.data)
	o.release(w)
	*w = waitingFrame{}
	o.removed++
}

// dropOldest takes out the frame that waits for the longest of those that may be dropped, and returns its topic; nil if there is none.
func (o *outbox) dropOldest() *topic {
	for i := max(o.noneFor, o.head); i < len(o.waits); i++ {
		if of := o.waits[i].of; of != nil && of.droppable != nil && o.whole(i) {
			o.takeOut(i)
			o.noneFor = i + 1
			return of.droppable
		}
	}
	o.noneFor = len(o.waits)
	return nil
}

// compact moves what waits to the front.
func (o *outbox) compact() {
	n, claimed, noneFor := 0, 0, 0
	for i := o.head; i < len(o.waits); i++ {
		if i == o.claimed {
			claimed = n
		}
		if i == o.noneFor {
			noneFor = n
		}
		if w := o.waits[i]; w.data != nil {
			o.waits[n] = w
			n++
		}
	}
	if o.claimed == len(o.waits) {
		claimed = n
	}
	if o.noneFor == len(o.waits) {
		noneFor = n
	}
	clear(o.waits[n:])
	o.waits = o.waits[:n]
	o.head, o.removed, o.claimed, o.noneFor = 0, 0, claimed, noneFor
	if o.latest == nil {
		return
	}
	clear(o.latest)
	for i, w := range o.waits {
		if w.of != nil && w.of.key != (conflationKey{}) {
			o.latest[w.of.key] = i
		}
	}
}

// claim keeps the frames of the first n bytes from being dropped until written is called.
func (o *outbox) claim(n int) {
	o.claimed = o.head
	for n += o.off; n > 0; o.claimed++ {
		n -= len(o.waits[o.claimed].data)
	}
}

func (o *outbox) empty() bool { return o.bytes == 0 }

// next returns bytes to write in one go: the rest of the only frame, or as many waiting frames as fit into buf, copied there. The outbox is not empty.
func (o *outbox) next(buf []byte) []byte {
	for o.waits[o.head].data == nil {
		o.head++
		o.removed--
	}
	first := o.waits[o.head].data[o.off:]
	if len(first) == o.bytes || len(first) >= len(buf) {
		return first
	}
	n := copy(buf, first)
	for _, w := range o.waits[o.head+1:] {
		if n+len(w.data) > len(buf) {
			break
		}
		n += copy(buf[n:], w.data)
	}
	return buf[:n]
}

// written takes n bytes off the front.
func (o *outbox) written(n int) {
	o.bytes -= n
	o.claimed = 0
	for n > 0 {
		w := &o.waits[o.head]
		rest := len(w.data) - o.off
		if n < rest {
			o.off += n
			return
		}
		n -= rest
		if w.data == nil {
			o.removed--
		} else {
			o.release(w)
		}
		*w = waitingFrame{}
		o.head++
		o.off = 0
	}
}

// hold counts a frame that waits; release takes it back.
func (o *outbox) hold(frame []byte, of *sharedFrame) {
	switch {
	case o.held == nil:
	case of == nil:
		*o.held += len(frame)
	default:
		if of.sockets == 0 {
			*o.held += of.size
		}
		of.sockets++
	}
}

func (o *outbox) release(w *waitingFrame) {
	switch {
	case o.held == nil:
	case w.of == nil:
		*o.held -= len(w.data)
	default:
		if w.of.sockets--; w.of.sockets == 0 {
			*o.held -= w.of.size
		}
	}
}

// reset empties the outbox and lets the frames go; a large array is not kept for the next socket.
func (o *outbox) reset() {
	if !o.empty() {
		for i := o.head; i < len(o.waits); i++ {
			if o.waits[i].data != nil {
				o.release(&o.waits[i])
			}
		}
	}
	clear(o.waits)
	if cap(o.waits) > 64 {
		o.waits = nil
	}
	*o = outbox{waits: o.waits[:0], held: o.held}
}
