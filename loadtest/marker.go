package main

import (
	"bytes"
	"encoding/hex"
)

// A broadcast's payload is {"m":"lt<run>.<seq>.<sent>.xxxx"}: run tells this run's messages from those of others, seq
// counts from 0, sent is the send time in nanoseconds of the run's clock; all are lower-case hex of fixed width, so
// a receiver finds them by their place and needs no JSON. One key and no escapes: a server that decodes and encodes
// anew, in whatever order and spacing, leaves the string as it is.
const (
	runDigits  = 8
	seqDigits  = 8
	sentDigits = 16

	payloadHead = `{"m":"lt`
	payloadTail = `"}`
	seqAt       = len(payloadHead) + runDigits + 1
	sentAt      = seqAt + seqDigits + 1
	// minPayload is the smallest payload that has room for all this.
	minPayload = sentAt + sentDigits + 1 + len(payloadTail)
)

// payload is one broadcast's payload, to be set to a sequence number and time and then copied out.
type payload []byte

// newPayload returns a payload of size bytes, at least minPayload.
func newPayload(run [runDigits / 2]byte, size int) payload {
	p := append(make(payload, 0, size), payloadHead...)
	p = hex.AppendEncode(p, run[:])
	p = append(p, '.')
	p = append(p, bytes.Repeat([]byte{'0'}, seqDigits)...)
	p = append(p, '.')
	p = append(p, bytes.Repeat([]byte{'0'}, sentDigits)...)
	p = append(p, '.')
	for len(p) < size-len(payloadTail) {
		p = append(p, 'x')
	}
	return append(p, payloadTail...)
}

// set writes the sequence number and send time into p.
func (p payload) set(seq uint32, sent int64) {
	putHex(p[seqAt:seqAt+seqDigits], uint64(seq))
	putHex(p[sentAt:sentAt+sentDigits], uint64(sent))
}

// marker finds the payload of this run in a message's text.
type marker struct {
	text []byte // "lt<run>."
	at   int    // where it was last time: the same place, in all likelihood, as all messages of a topic begin alike
}

func newMarker(run [runDigits / 2]byte) marker {
	return marker{text: append(hex.AppendEncode([]byte("lt"), run[:]), '.')}
}

// find returns the sequence number and send time; ok is false if text is not one of this run's broadcasts.
func (m *marker) find(text []byte) (seq uint32, sent int64, ok bool) {
	start := m.at
	if len(text) < start+len(m.text) || !bytes.Equal(text[start:start+len(m.text)], m.text) {
		if start = bytes.Index(text, m.text); start < 0 {
			return 0, 0, false
		}
		m.at = start
	}
	numbers := text[start+len(m.text):]
	if len(numbers) < seqDigits+1+sentDigits {
		return 0, 0, false
	}
	s, okSeq := parseHex(numbers[:seqDigits])
	t, okSent := parseHex(numbers[seqDigits+1 : seqDigits+1+sentDigits])
	return uint32(s), int64(t), okSeq && okSent
}

func putHex(dst []byte, v uint64) {
	const digits = "0123456789abcdef"
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = digits[v&0xF]
		v >>= 4
	}
}

func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}
