package phxtest

import (
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// ReadFrame reads one frame, which must be one that a server may send (RFC 6455 §5).
func ReadFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
		return ws.Frame{}, err
	}
	if h.Length > maxFrame {
		return ws.Frame{}, fmt.Errorf("frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
