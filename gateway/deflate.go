package gateway

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"

	"github.com/phxgate/phxgate/gateway/phx"
)

// permessage-deflate (RFC 7692), where COMPRESS is set and a client offers it, always without context takeover: no socket holds a dictionary, and a broadcast is compressed once for all of them.

const (
	// deflateLeast is the size of a frame from which it is compressed. Below it little is gained without a dictionary.
	deflateLeast = 256
	// deflateLevel takes some 6 µs for 300 bytes and as much for each KB of JSON beyond; the next levels save 1 to 3% more at twice the cost.
	deflateLevel = 3
	// deflateApart is the payload from which broadcasts are compressed by the filter's goroutines, and not on the way in, where other topics would wait.
	deflateApart = 16 << 10
)

// rsv1 marks a compressed message, in the first byte of its first frame (RFC 7692 §6).
const rsv1 = 0x40

// form is how a socket is spoken to: its serializer, and whether messages are compressed.
type form uint8

const numForms = 2 * phx.NumSerializers

func formOf(s phx.Serializer, deflates bool) form {
	if deflates {
		return form(s) + phx.NumSerializers
	}
	return form(s)
}

func (f form) serializer() phx.Serializer { return phx.Serializer(f % phx.NumSerializers) }
func (f form) deflates() bool             { return f >= phx.NumSerializers }

// form is the socket's.
func (s *socket) form() form { return formOf(s.serializer, s.deflates) }

// deflating returns what negotiates the extension in a handshake, and says afterwards whether it was. An offer that cannot be met, or read, is declined, and the connection not compressed (RFC 7692 §5).
func deflating() (negotiate func(httphead.Option) (httphead.Option, error), agreed func() bool) {
	e := wsflate.Extension{Parameters: wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}}
	negotiate = func(offer httphead.Option) (httphead.Option, error) {
		accepted, err := e.Negotiate(offer)
		if err != nil {
			return httphead.Option{}, nil
		}
		return accepted, nil
	}
	return negotiate, func() bool { _, ok := e.Accepted(); return ok }
}

// deflaters are writers for anybody: each is some 300 KB.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, deflateLevel)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// deflateFrame returns a text or binary frame's compressed form; the frame itself where it is of another kind, too small, or would not become smaller.
func deflateFrame(frame []byte) []byte {
	if len(frame) < deflateLeast || frame[0] != 0x80|byte(ws.OpText) && frame[0] != 0x80|byte(ws.OpBinary) {
		return frame
	}
	header := 2
	switch frame[1] {
	case 126:
		header = 4
	case 127:
		header = 10
	}
	out := appendFrame(make([]byte, 0, len(frame)/2), ws.OpCode(frame[0]&0x0f), func(dst []byte) []byte {
		b := bytes.NewBuffer(dst)
		w := deflaters.Get().(*flate.Writer)
		w.Reset(b)
		_, _ = w.Write(frame[header:]) // a buffer takes all
		_ = w.Flush()
		deflaters.Put(w)
		return bytes.TrimSuffix(b.Bytes(), flushed)
	})
	if len(out) >= len(frame) {
		return frame
	}
	out[0] |= rsv1
	return out
}

// flushed is how a flush ends, which RFC 7692 §7.2.1 leaves out of messages; streamEnd puts it back and ends the stream.
var (
	flushed   = []byte{0x00, 0x00, 0xff, 0xff}
	streamEnd = []byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}
)

var errInflatesTooBig = errors.New("a compressed message becomes larger than MAX_FRAME_BYTES")

// inflater reads compressed messages, one after the other. A loop has one for all its sockets.
type inflater struct {
	reader  io.ReadCloser
	message []byte // that is being read
	source  bytes.Reader
	limited io.LimitedReader
	out     bytes.Buffer
}

// inflaterKeeps is how large a buffer is kept for the next message.
const inflaterKeeps = 64 << 10

// inflate returns what a message holds, at most limit bytes, valid until the next call.
func (i *inflater) inflate(message []byte, limit int) ([]byte, error) {
	if i.out.Cap() > inflaterKeeps || cap(i.message) > inflaterKeeps {
		i.out, i.message = bytes.Buffer{}, nil
	}
	i.out.Reset()
	i.message = append(append(i.message[:0], message...), streamEnd...)
	i.source.Reset(i.message)
	if i.reader == nil {
		i.reader = flate.NewReader(&i.source)
	} else if err := i.reader.(flate.Resetter).Reset(&i.source, nil); err != nil {
		return nil, err
	}
	i.limited = io.LimitedReader{R: i.reader, N: int64(limit) + 1}
	n, err := i.out.ReadFrom(&i.limited)
	if err == nil && n > int64(limit) {
		err = errInflatesTooBig
	}
	return i.out.Bytes(), err
}
