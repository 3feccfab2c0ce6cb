package main

// stream is what must be remembered between two reads from one peer: nothing at all unless a read ended inside a
// frame. One read goes like this, with a scratch buffer that all peers of a loop share:
//
//	n := s.restore(scratch)                    what was kept goes to the front
//	n += read(scratch[n:])
//	f, rest, ok, err := s.next(scratch[:n], …) as long as ok
//	s.keep(rest, buffers)                      once it is not
type stream struct {
	kept []byte // start of an incomplete frame
	skip int    // > 0: kept holds all that is wanted of a long frame; so many bytes of it are still to come
}

// restore copies what was kept to the front of scratch and returns its length. scratch must be longer than a header
// and the limit of next.
func (s *stream) restore(scratch []byte) int {
	if s.skip > 0 {
		return 0
	}
	return copy(scratch, s.kept)
}

// next takes the first frame off data. If there is no complete one, ok is false and rest is what keep must be given.
// The frame's payload is valid until keep; of one longer than limit bytes it holds the beginning only, at least so much.
func (s *stream) next(data []byte, limit int) (f frame, rest []byte, ok bool, err error) {
	if s.skip > len(data) {
		s.skip -= len(data)
		return f, s.kept, false, nil
	}
	if s.skip > 0 {
		f, size, err := parseHeader(s.kept)
		f.payload = s.kept[size:]
		rest, s.skip = data[s.skip:], 0
		return f, rest, true, err
	}
	f, size, err := parseHeader(data)
	if err != nil || size == 0 {
		return f, data, false, err
	}
	if end := size + f.length; end <= len(data) {
		f.payload = data[size:end]
		return f, data[end:], true, nil
	}
	if wanted := size + limit; f.length > limit && len(data) >= wanted {
		s.skip = size + f.length - len(data)
		return f, data[:wanted], false, nil
	}
	return f, data, false, nil
}

// keep remembers rest until the next read, in a buffer from the pool, and gives that back when rest is empty.
func (s *stream) keep(rest []byte, pool *bufferPool) {
	if len(rest) == 0 {
		if s.kept != nil {
			pool.put(s.kept)
			s.kept = nil
		}
		return
	}
	if s.kept == nil {
		s.kept = pool.get()
	}
	s.kept = append(s.kept[:0], rest...)
}

// bufferPool lends buffers to the few peers of one loop that need one at a time. It is not safe for concurrent use.
type bufferPool struct{ free [][]byte }

// maxFreeBuffers bounds what a pool holds on to.
const maxFreeBuffers = 64

// get returns an empty buffer.
func (p *bufferPool) get() []byte {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, 0, 512)
}

// put takes a buffer back; its owner must not use it any more.
func (p *bufferPool) put(b []byte) {
	if len(p.free) < maxFreeBuffers {
		p.free = append(p.free, b[:0])
	}
}
