package gateway

// outbox is what waits to be written to one socket. Frames are shared and never changed: a broadcast is the same slice in every member's outbox.
// A socket has one only while something waits; its loop keeps the empty ones.
type outbox struct {
	frames [][]byte
	head   int // frames[:head] are written
	off    int // bytes of frames[head] that are written
	bytes  int // bytes that wait; the sum over frames[head:] less off
}

// push appends a frame.
func (o *outbox) push(frame []byte) {
	if o.head > 32 && o.head > len(o.frames)/2 {
		// A client that is always a little behind never empties it.
		n := copy(o.frames, o.frames[o.head:])
		clear(o.frames[n:])
		o.frames, o.head = o.frames[:n], 0
	}
	o.frames = append(o.frames, frame)
	o.bytes += len(frame)
}

func (o *outbox) empty() bool { return o.head == len(o.frames) }

// next returns bytes to write in one go: the rest of the only frame, or as many waiting frames as fit into buf, copied there.
func (o *outbox) next(buf []byte) []byte {
	first := o.frames[o.head][o.off:]
	if o.head+1 == len(o.frames) || len(first) >= len(buf) {
		return first
	}
	n := copy(buf, first)
	for _, f := range o.frames[o.head+1:] {
		if n+len(f) > len(buf) {
			break
		}
		n += copy(buf[n:], f)
	}
	return buf[:n]
}

// written takes n bytes off the front.
func (o *outbox) written(n int) {
	o.bytes -= n
	for n > 0 {
		rest := len(o.frames[o.head]) - o.off
		if n < rest {
			o.off += n
			return
		}
		n -= rest
		o.frames[o.head] = nil
		o.head++
		o.off = 0
	}
}

// reset empties the outbox and lets the frames go; a large array is not kept for the next socket.
func (o *outbox) reset() {
	clear(o.frames)
	if cap(o.frames) > 64 {
		o.frames = nil
	}
	o.frames = o.frames[:0]
	o.head, o.off, o.bytes = 0, 0, 0
}
