package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// readAll feeds data to a stream in pieces of at most size bytes, as so many reads, and returns what it made of them.
// The scratch buffer is overwritten between reads, as another client's read would.
func readAll(t *testing.T, data []byte, size int) []frame {
	t.Helper()
	var s stream
	var pool bufferPool
	var frames []frame
	scratch := make([]byte, scratchSize)
	for len(data) > 0 {
		kept := s.restore(scratch)
		n := copy(scratch[kept:], data[:min(size, len(data))])
		data = data[n:]
		rest := scratch[:kept+n]
		for {
			f, after, ok, err := s.next(rest, keepBytes)
			if err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
			if rest = after; !ok {
				break
			}
			f.payload = bytes.Clone(f.payload)
			frames = append(frames, f)
		}
		s.keep(rest, &pool)
		for i := range scratch[:kept+n] {
			scratch[i] = 0xEE
		}
	}
	if s.kept != nil || s.skip != 0 {
		t.Errorf("pieces of %d: %d bytes kept and %d to skip after the last frame", size, len(s.kept), s.skip)
	}
	return frames
}

const scratchSize = keepBytes + 4096

func TestStreamInPieces(t *testing.T) {
	testInPieces(t, []int{0, 1, 125, 126, 127, 0, 300, 2000, 2}, 1, 2, 3, 7, 100, 1447, 4096)
}

func TestLongFramesInPieces(t *testing.T) {
	testInPieces(t, []int{3, 65535, 65536, 2, keepBytes + 1, 3 * keepBytes, 5}, 999, 1447, 4096, keepBytes)
}

// testInPieces sends text frames of these lengths, read in pieces of each size.
func testInPieces(t *testing.T, lengths []int, sizes ...int) {
	var data []byte
	var want []string
	for i, length := range lengths {
		payload := bytes.Repeat([]byte{byte('a' + i)}, length)
		data = appendFrame(data, opText, false, payload)
		want = append(want, string(payload))
	}
	for _, size := range sizes {
		frames := readAll(t, data, size)
		if len(frames) != len(want) {
			t.Fatalf("pieces of %d: %d frames, want %d", size, len(frames), len(want))
		}
		for i, f := range frames {
			if f.opcode != opText || f.length != len(want[i]) {
				t.Errorf("pieces of %d: frame %d has opcode %d, length %d, want text of %d", size, i, f.opcode, f.length, len(want[i]))
			}
			// Of a long frame only the beginning is promised.
			if len(f.payload) < min(keepBytes, f.length) || string(f.payload) != want[i][:len(f.payload)] {
				t.Errorf("pieces of %d: frame %d has a payload of %d bytes that is not the beginning of what was sent", size, i, len(f.payload))
			}
		}
	}
}

func TestStreamCoalescedAndCut(t *testing.T) {
	one := appendFrame(nil, opText, false, []byte(`[null,null,"t","e",{}]`))
	// Every cut of three frames in one packet.
	data := bytes.Repeat(one, 3)
	for cut := 1; cut < len(data); cut++ {
		var s stream
		var pool bufferPool
		scratch, frames := make([]byte, scratchSize), 0
		for _, piece := range [][]byte{data[:cut], data[cut:]} {
			kept := s.restore(scratch)
			rest := scratch[:kept+copy(scratch[kept:], piece)]
			for ok := true; ok; {
				var f frame
				var err error
				if f, rest, ok, err = s.next(rest, keepBytes); err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				if ok {
					frames++
					if string(f.payload) != `[null,null,"t","e",{}]` {
						t.Fatalf("cut at %d: frame %d is %q", cut, frames, f.payload)
					}
				}
			}
			s.keep(rest, &pool)
		}
		if frames != 3 {
			t.Errorf("cut at %d: %d frames, want 3", cut, frames)
		}
	}
}

func TestMaskedFrames(t *testing.T) {
	for range 2000 {
		payload := make([]byte, rand.IntN(300))
		for i := range payload {
			payload[i] = byte(rand.Uint32())
		}
		data := appendFrame(nil, opBinary, true, payload)
		f, size, err := parseHeader(data)
		if err != nil || !f.masked || f.opcode != opBinary || f.length != len(payload) || size+f.length != len(data) {
			t.Fatalf("header of %x: %+v, size %d, %v", data, f, size, err)
		}
		if len(payload) > 8 && bytes.Equal(data[size:], payload) {
			t.Fatalf("payload %x is not masked", payload)
		}
		got := data[size:]
		applyMask(got, f.mask)
		if !bytes.Equal(got, payload) {
			t.Fatalf("unmasked %x, want %x", got, payload)
		}
	}
}

func TestBadFrames(t *testing.T) {
	for _, test := range []struct {
		data []byte
		want error
	}{
		{[]byte{0xC1, 0x00}, errReserved},
		{[]byte{0x01, 0x00}, errFragmented},
		{[]byte{0x80, 0x00}, errFragmented},
		{[]byte{0x89, 126, 0, 126}, errControl},
		{[]byte{0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0}, errTooLong},
		{[]byte{0x81, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, errTooLong},
	} {
		if _, _, err := parseHeader(test.data); !errors.Is(err, test.want) {
			t.Errorf("% x: error %v, want %v", test.data, err, test.want)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	data := appendFrame(nil, opText, false, bytes.Repeat([]byte("x"), 200))
	data = append(data, data...)
	var s stream
	var pool bufferPool
	pool.put(make([]byte, 0, 1024))
	scratch := make([]byte, scratchSize)
	allocs := testing.AllocsPerRun(100, func() {
		for _, piece := range [][]byte{data[:300], data[300:]} {
			kept := s.restore(scratch)
			rest := scratch[:kept+copy(scratch[kept:], piece)]
			for ok := true; ok; {
				_, rest, ok, _ = s.next(rest, keepBytes)
			}
			s.keep(rest, &pool)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for two reads, want 0", allocs)
	}
}

func FuzzStream(f *testing.F) {
	f.Add(appendFrame(nil, opText, false, []byte("hello")), 3)
	f.Add([]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3}, 1)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		if cut <= 0 || cut > len(data) {
			return
		}
		whole, piecewise := parseAll(data, len(data)), parseAll(data, cut)
		if whole != piecewise {
			t.Errorf("at once:\n%s\nin pieces of %d:\n%s", whole, cut, piecewise)
		}
	})
}

// parseAll prints the frames of data as read in pieces.
func parseAll(data []byte, size int) (trace string) {
	var s stream
	var pool bufferPool
	scratch := make([]byte, scratchSize)
	for len(data) > 0 {
		kept := s.restore(scratch)
		n := copy(scratch[kept:], data[:min(size, len(data))])
		data = data[n:]
		rest := scratch[:kept+n]
		for ok := true; ok; {
			var f frame
			var err error
			if f, rest, ok, err = s.next(rest, keepBytes); err != nil {
				return trace + err.Error()
			}
			if ok {
				trace += fmt.Sprintf("%d %v %x\n", f.opcode, f.masked, f.payload[:min(len(f.payload), keepBytes)])
			}
		}
		s.keep(rest, &pool)
	}
	return trace
}
