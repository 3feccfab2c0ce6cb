package main

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
)

func TestMarkerFoundWhereverItIs(t *testing.T) {
	run := [runDigits / 2]byte{0xde, 0xad, 0xbe, 0xef}
	p, m := newPayload(run, 128), newMarker(run)
	for i, test := range []struct {
		head string
		seq  uint32
		sent int64
	}{
		{`[null,null,"room:fanout","new_msg",`, 0, 0},
		{`[null,null,"room:fanout","new_msg",`, 1, 1},
		{`[null, null, "room:fanout", "new_msg", `, math.MaxUint32, math.MaxInt64},
		{`["1",null,"room:fanout","new_msg",{"user_id":"42","and":`, 7, 1e9},
		{`[`, 8, 12345678912345},
	} {
		p.set(test.seq, test.sent)
		seq, sent, ok := m.find(append(append([]byte(test.head), p...), ']'))
		if !ok || seq != test.seq || sent != test.sent {
			t.Errorf("%d: found %d, %d, %v, want %d, %d", i, seq, sent, ok, test.seq, test.sent)
		}
	}
}

func TestPayloadSize(t *testing.T) {
	for _, size := range []int{minPayload, minPayload + 1, 128, 65536} {
		p := newPayload([runDigits / 2]byte{}, size)
		p.set(3, 4)
		if len(p) != size || !json.Valid(p) {
			t.Errorf("size %d: %d bytes, valid JSON %v", size, len(p), json.Valid(p))
		}
	}
}

func TestMarkerOfOthers(t *testing.T) {
	m := newMarker([runDigits / 2]byte{1, 2, 3, 4})
	own := newPayload([runDigits / 2]byte{1, 2, 3, 4}, 128)
	own.set(1, 1)
	for _, text := range [][]byte{
		newPayload([runDigits / 2]byte{1, 2, 3, 5}, 128), // another run
		own[:sentAt+3], // cut
		bytes.Replace(own, []byte("00000001."), []byte("0000000G."), 1),
		[]byte(`["1","h","phoenix","phx_reply",{"status":"ok","response":{}}]`),
		nil,
	} {
		if _, _, ok := m.find(text); ok {
			t.Errorf("%q: taken for a broadcast of this run", text)
		}
	}
}
