//go:build linux

package ceilings

import (
	"bytes"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// frameMask is the mask of all frames of these clients: unmasking is then the work it always is.
var frameMask = [4]byte{0x9b, 0x37, 0xe1, 0x5c}

// frame is one masked frame.
func frame(op ws.OpCode, fin bool, payload []byte) []byte {
	var b bytes.Buffer
	f := ws.MaskFrameWith(ws.NewFrame(op, fin, payload), frameMask)
	if err := ws.WriteFrame(&b, f); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return b.Bytes()
}

// textFrame is one message as a masked text frame.
func textFrame(text string) []byte { return frame(ws.OpText, true, []byte(text)) }

// message is one whole frame that a gateway sent.
type message struct {
	op      ws.OpCode
	payload []byte
}

// maxMessage bounds in bytes what these clients expect.
const maxMessage = 64 << 10

// readMessage reads one frame. A gateway does not fragment, and does not mask (RFC 6455 §5.1).
func readMessage(r io.Reader) (message, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return message{}, err
	}
	if !h.Fin || h.Masked || h.Length > maxMessage {
		return message{}, fmt.Errorf("frame header %+v: want a whole frame, unmasked, of at most %d bytes", h, maxMessage)
	}
	m := message{h.OpCode, make([]byte, h.Length)}
	_, err = io.ReadFull(r, m.payload)
	return m, err
}

// closeCode is the code of a close frame; 0 if it is none.
func (m message) closeCode() ws.StatusCode {
	if m.op != ws.OpClose {
		return 0
	}
	code, _ := ws.ParseCloseFrameData(m.payload)
	return code
}
