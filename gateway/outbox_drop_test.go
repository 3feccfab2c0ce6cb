package gateway

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// modelFrame is a frame in a plain list that is to do what an outbox does.
type modelFrame struct {
	data []byte
	of   *sharedFrame
	done int // bytes that are written
	busy bool
}

func (f *modelFrame) whole() bool { return f.done == 0 && !f.busy }

// TestOutboxDropsModel compares outboxes whose frames may be dropped, conflated and shared with plain lists, under short writes and writes by others.
func TestOutboxDropsModel(t *testing.T) {
	topics := []*topic{{name: "a"}, {name: "b"}}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		held := 0
		boxes := []*outbox{{held: &held}, {held: &held}}
		models := make([][]*modelFrame, len(boxes))
		var waiting []*sharedFrame
		for range 400 {
			switch of := randomShared(r, topics); r.IntN(8) {
			case 0, 1, 2, 3: // a frame, perhaps for both
				data := make([]byte, 1+r.IntN(40))
				for i := range data {
					data[i] = byte(r.Uint32())
				}
				if of != nil {
					of.size = len(data)
					waiting = append(waiting, of)
				}
				for i, o := range boxes {
					if i == 1 && (of == nil || r.IntN(3) == 0) {
						continue
					}
					conflated := o.push(data, of)
					m := models[i]
					at := -1
					if of != nil && of.key != (conflationKey{}) {
						at = slices.IndexFunc(m, func(f *modelFrame) bool { return f.of != nil && f.of.key == of.key && f.whole() })
					}
					if conflated != (at >= 0) {
						t.Fatalf("seed %d: conflated %t, the model %t", seed, conflated, at >= 0)
					}
					if at >= 0 {
						m = slices.Delete(m, at, at+1)
					}
					models[i] = append(m, &modelFrame{data: data, of: of})
				}
			case 4: // a drop
				i := r.IntN(2)
				at := slices.IndexFunc(models[i], func(f *modelFrame) bool { return f.of != nil && f.of.droppable != nil && f.whole() })
				var want *topic
				if at >= 0 {
					want = models[i][at].of.droppable
					models[i] = slices.Delete(models[i], at, at+1)
				}
				if got := boxes[i].dropOldest(); got != want {
					t.Fatalf("seed %d: dropped of %v, want %v", seed, got, want)
				}
			default: // a write, perhaps by somebody else, who takes his time
				i := r.IntN(2)
				o := boxes[i]
				if o.empty() {
					continue
				}
				if models[i][0].busy {
					n := 0
					for _, f := range models[i] {
						if f.busy {
							n += len(f.data) - f.done
						}
					}
					models[i] = wrote(t, o, models[i], n)
					continue
				}
				b := o.next(make([]byte, 1+r.IntN(90)))
				if r.IntN(2) == 0 {
					models[i] = wrote(t, o, models[i], 1+r.IntN(len(b)))
					continue
				}
				o.claim(len(b))
				for k, n := 0, len(b); n > 0; k++ {
					models[i][k].busy = true
					n -= len(models[i][k].data) - models[i][k].done
				}
			}
			for i, o := range boxes {
				bytes := 0
				for _, f := range models[i] {
					bytes += len(f.data) - f.done
				}
				if o.bytes != bytes || o.empty() != (bytes == 0) {
					t.Fatalf("seed %d: %d bytes wait, want %d", seed, o.bytes, bytes)
				}
				if o.empty() && r.IntN(2) == 0 {
					o.reset()
				}
				if len(o.waits) > 2*len(models[i])+70 {
					t.Fatalf("seed %d: %d frames wait in %d", seed, len(models[i]), len(o.waits))
				}
			}
			want := 0
			for i := range models {
				for _, f := range models[i] {
					if f.of == nil {
						want += len(f.data)
					}
				}
			}
			for _, of := range waiting {
				if slices.ContainsFunc(slices.Concat(models...), func(f *modelFrame) bool { return f.of == of }) {
					want += of.size
				}
			}
			if held != want {
				t.Fatalf("seed %d: %d bytes are held, want %d", seed, held, want)
			}
		}
		for _, o := range boxes {
			o.reset()
		}
		if held != 0 {
			t.Fatalf("seed %d: %d bytes are held by empty outboxes", seed, held)
		}
	}
}

// randomShared is what is known of a frame, nil for nothing.
func randomShared(r *rand.Rand, topics []*topic) *sharedFrame {
	switch of := (&sharedFrame{}); r.IntN(4) {
	case 0:
		return nil
	case 1:
		return of
	case 2:
		of.droppable = topics[r.IntN(2)]
		return of
	default:
		of.droppable = topics[r.IntN(2)]
		of.key = conflationKey{of.droppable, []string{"x", "y"}[r.IntN(2)], []string{"", "1"}[r.IntN(2)]}
		return of
	}
}

// wrote takes n bytes off the front of an outbox and its model, which must be the same bytes.
func wrote(t *testing.T, o *outbox, model []*modelFrame, n int) []*modelFrame {
	t.Helper()
	got := slices.Clone(o.next(make([]byte, 1<<16))[:n])
	var want []byte
	for _, f := range model {
		want = append(want, f.data[f.done:]...)
	}
	if !slices.Equal(got, want[:n]) {
		t.Fatalf("%x waits first, want %x", got, want[:n])
	}
	o.written(n)
	for n > 0 {
		f := model[0]
		take := min(n, len(f.data)-f.done)
		f.done += take
		n -= take
		if f.done == len(f.data) {
			model = model[1:]
		}
	}
	for _, f := range model {
		f.busy = false
	}
	return model
}
