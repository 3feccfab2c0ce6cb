package gateway

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// parseHeader reads a client frame's header from the front of data. deflates: messages may be compressed. It returns the header, its size in bytes, and a cause other than
// causeNone if the frame breaks RFC 6455; size is 0 if more bytes are needed.
func parseHeader(data []byte, deflates bool) (h ws.Header, size int, bad cause) {
	if len(data) < 2 {
		return h, 0, causeNone
	}
	h.Fin = data[0]&0x80 != 0
	h.Rsv = data[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(data[0] & 0x0f)
	h.Masked = data[1]&0x80 != 0
	compressed := deflates && h.Rsv == 4 && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) // RFC 7692 §6.1: the first frame of a message says so
	if h.Rsv != 0 && !compressed || !h.Masked || h.OpCode.IsReserved() {
		// RFC 6455 §5.2: no extension gave the other bits a meaning; §5.1: a client's frames are masked.
		return h, 0, causeProtocol
	}
	length := int64(data[1] & 0x7f)
	if h.OpCode.IsControl() && (!h.Fin || length > ws.MaxControlFramePayloadSize) {
		return h, 0, causeProtocol // RFC 6455 §5.5
	}
	size = 2
	switch length {
	case 126:
		if len(data) < 4 {
			return h, 0, causeNone
		}
		length = int64(binary.BigEndian.Uint16(data[2:]))
		size = 4
		if length < 126 {
			return h, 0, causeProtocol // §5.2: the minimal number of bytes
		}
	case 127:
		if len(data) < 10 {
			return h, 0, causeNone
		}
		n := binary.BigEndian.Uint64(data[2:])
		size = 10
		if n > 1<<63-1 || n < 1<<16 {
			return h, 0, causeProtocol
		}
		length = int64(n)
	}
	if len(data) < size+4 {
		return h, 0, causeNone
	}
	copy(h.Mask[:], data[size:size+4])
	h.Length = length
	return h, size + 4, causeNone
}

// closeCode reads a client's close frame. It answers the code to reply with (0: an empty close frame), or the cause if the frame breaks
// RFC 6455 §5.5.1 or §7.4.
func closeCode(payload []byte) (ws.StatusCode, cause) {
	if len(payload) == 0 {
		return 0, causeNone
	}
	if len(payload) == 1 {
		return 0, causeProtocol
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if code > 4999 {
		return 0, causeProtocol // §7.4.2: 4000-4999 is the last range there is
	}
	switch err := ws.CheckCloseFrameData(code, reason); err {
	case nil:
		return code, causeNone
	case ws.ErrProtocolInvalidUTF8:
		return 0, causeNotUTF8
	}
	// The registry has codes above RFC 6455's that gobwas/ws refuses (1012-1014).
	if code >= 1012 && code <= 1014 {
		if !utf8.ValidString(reason) {
			return 0, causeNotUTF8
		}
		return code, causeNone
	}
	return 0, causeProtocol
}

// frameGap is left free before a payload that is encoded in place, for the header of all but the largest frames.
const frameGap = 4

// appendFrame appends one final, unmasked frame whose payload is what encode appends. The header's size is known only when the payload is:
// the payload is written after a gap and moved if the gap was wrong (a short one by at most 125 bytes, a very long one once).
func appendFrame(dst []byte, op ws.OpCode, encode func(dst []byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = encode(dst)
	return closeFrame(dst, start, op)
}

// closeFrame writes the header of the frame that was begun at start with frameGap free bytes and whose payload follows them.
func closeFrame(dst []byte, start int, op ws.OpCode) []byte {
	n := len(dst) - start - frameGap
	first := 0x80 | byte(op)
	switch {
	case n < 126:
		dst[start], dst[start+1] = first, byte(n)
		copy(dst[start+2:], dst[start+frameGap:])
		return dst[:start+2+n]
	case n < 1<<16:
		dst[start], dst[start+1] = first, 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
		return dst
	default:
		dst = append(dst, 0, 0, 0, 0, 0, 0)
		copy(dst[start+10:], dst[start+frameGap:start+frameGap+n])
		dst[start], dst[start+1] = first, 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
		return dst
	}
}

// appendControl appends a control frame with at most 125 bytes of payload.
func appendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op), byte(len(payload)))
	return append(dst, payload...)
}

// appendClose appends a close frame with a code and an empty reason; code 0 gives an empty frame.
func appendClose(dst []byte, code ws.StatusCode) []byte {
	if code == 0 {
		return appendControl(dst, ws.OpClose, nil)
	}
	return appendControl(dst, ws.OpClose, binary.BigEndian.AppendUint16(nil, uint16(code)))
}
