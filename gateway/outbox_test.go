package gateway

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestOutboxModel compares an outbox with a plain byte queue under random frames, buffers and short writes.
func TestOutboxModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		o := &outbox{}
		var model, got, want []byte
		buf := make([]byte, 1+r.IntN(64))
		for range 300 {
			if r.IntN(2) == 0 {
				f := make([]byte, 1+r.IntN(40))
				for i := range f {
					f[i] = byte(r.Uint32())
				}
				o.push(f, nil)
				model = append(model, f...)
				want = append(want, f...)
			}
			if !o.empty() && r.IntN(3) > 0 {
				b := o.next(buf)
				if len(b) == 0 || !bytes.HasPrefix(model, b) {
					t.Fatalf("seed %d: next is %x, waiting is %x", seed, b, model)
				}
				if len(b) > len(buf) && len(b) != len(o.waits[o.head].data)-o.off {
					t.Fatalf("seed %d: next gathers %d bytes into %d", seed, len(b), len(buf))
				}
				n := 1 + r.IntN(len(b)) // a write may be short
				got = append(got, b[:n]...)
				model = model[n:]
				o.written(n)
			}
			if o.bytes != len(model) || o.empty() != (len(model) == 0) {
				t.Fatalf("seed %d: bytes %d, empty %v; %d wait", seed, o.bytes, o.empty(), len(model))
			}
			if o.empty() && r.IntN(2) == 0 {
				o.reset()
			}
		}
		got = append(got, model...)
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: what was written is not what was pushed", seed)
		}
	}
}

// TestOutboxGathers wants small frames to leave together: one write a turn is what makes fan-out cheap.
func TestOutboxGathers(t *testing.T) {
	o := &outbox{}
	for _, f := range []string{"one", "two", "three", "four"} {
		o.push([]byte(f), nil)
	}
	if got := o.next(make([]byte, 12)); string(got) != "onetwothree" {
		t.Errorf("got %q, want the frames that fit whole", got)
	}
	o.written(4) // the first and a byte of the second
	if got := o.next(make([]byte, 100)); string(got) != "wothreefour" {
		t.Errorf("got %q, want the rest", got)
	}
	o.written(11)
	if !o.empty() || o.bytes != 0 {
		t.Errorf("empty %v, bytes %d", o.empty(), o.bytes)
	}
	o.reset()
	big := bytes.Repeat([]byte{1}, 100)
	o.push(big, nil)
	o.push(big, nil)
	if got := o.next(make([]byte, 12)); len(got) != 100 || &got[0] != &big[0] {
		t.Error("a frame larger than the buffer is not written in place")
	}
}

// TestOutboxNeverEmptyStaysSmall: a socket that reads as fast as messages come, but always a little behind, must not grow.
func TestOutboxNeverEmptyStaysSmall(t *testing.T) {
	o := &outbox{}
	frame := []byte("0123456789")
	o.push(frame, nil)
	for range 100_000 {
		o.push(frame, nil)
		o.written(len(frame))
	}
	if o.bytes != len(frame) {
		t.Fatalf("%d bytes wait, want %d", o.bytes, len(frame))
	}
	if cap(o.waits) > 1024 {
		t.Errorf("one frame waits in an array of %d", cap(o.waits))
	}
}

func TestOutboxResetLetsGo(t *testing.T) {
	o := &outbox{}
	for range 100 {
		o.push([]byte("x"), nil)
	}
	o.written(100)
	o.reset()
	if cap(o.waits) > 64 {
		t.Errorf("an array of %d is kept", cap(o.waits))
	}
	o.push([]byte("y"), nil)
	if got := o.next(nil); string(got) != "y" || o.bytes != 1 {
		t.Errorf("after reset: %q, %d bytes", got, o.bytes)
	}
}
