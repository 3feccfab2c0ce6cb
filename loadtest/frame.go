package main

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	// keepBytes is how much of a frame's payload a client keeps while the rest has not arrived, and hence how much of a
	// longer one a handler may see.
	keepBytes = 64 << 10
	// maxFrameBytes bounds what a peer may announce; beyond it the stream is taken for broken.
	maxFrameBytes = 1 << 30
)

var (
	errReserved   = errors.New("reserved bits set (RFC 6455 §5.2)")
	errFragmented = errors.New("fragmented message") // none of the servers in question fragments (Phoenix cannot)
	errTooLong    = errors.New("frame too long")
	errControl    = errors.New("control frame too long (RFC 6455 §5.5)")
)

// frameMask is the mask of every frame a client sends. It never changes, which no server can tell, but is not zero, so
// that a server's unmasking is the work it is for other clients.
var frameMask = [4]byte{0x9b, 0x37, 0xe1, 0x5c}

// frame is one WebSocket frame.
type frame struct {
	opcode  byte
	masked  bool
	mask    [4]byte
	payload []byte // as it came, still masked; perhaps only the beginning of a long frame
	length  int    // of the whole payload
}

// parseHeader reads the header at the start of data: size is its length in bytes, 0 if there are not enough bytes yet.
// The frame has no payload yet.
func parseHeader(data []byte) (f frame, size int, err error) {
	if len(data) < 2 {
		return f, 0, nil
	}
	if data[0]&0x70 != 0 {
		return f, 0, errReserved
	}
	f.opcode, f.masked, f.length = data[0]&0x0F, data[1]&0x80 != 0, int(data[1]&0x7F)
	if data[0]&0x80 == 0 || f.opcode == opContinuation {
		return f, 0, errFragmented
	}
	if f.opcode >= opClose && f.length > 125 {
		return f, 0, errControl
	}
	size = 2
	switch f.length {
	case 126:
		if len(data) < 4 {
			return f, 0, nil
		}
		f.length, size = int(binary.BigEndian.Uint16(data[2:])), 4
	case 127:
		if len(data) < 10 {
			return f, 0, nil
		}
		length := binary.BigEndian.Uint64(data[2:])
		if length > maxFrameBytes {
			return f, 0, errTooLong
		}
		f.length, size = int(length), 10
	}
	if f.masked {
		if len(data) < size+4 {
			return f, 0, nil
		}
		f.mask, size = [4]byte(data[size:]), size+4
	}
	return f, size, nil
}

// appendFrame appends a whole frame to dst, masked by frameMask for the way to a server.
func appendFrame(dst []byte, opcode byte, masked bool, payload []byte) []byte {
	var maskBit byte
	if masked {
		maskBit = 0x80
	}
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, maskBit|byte(n))
	case n <= 0xFFFF:
		dst = binary.BigEndian.AppendUint16(append(dst, maskBit|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, maskBit|127), uint64(n))
	}
	if !masked {
		return append(dst, payload...)
	}
	dst = append(dst, frameMask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	applyMask(dst[start:], frameMask)
	return dst
}

// applyMask masks or unmasks b in place (RFC 6455 §5.3).
func applyMask(b []byte, mask [4]byte) {
	word := uint64(binary.LittleEndian.Uint32(mask[:]))
	word |= word << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= mask[i&3]
	}
}
